// Owns the words that a cell and its editor share. It runs nothing.

import type { Completions } from "../live/contract";

/** What a kernel knows about code that is being written. */
export interface Assistant {
  complete(code: string, at: number): Promise<Completions | null>;
  /** Plain text, possibly coloured for a terminal; empty when there is nothing to say. */
  inspect(code: string, at: number): Promise<string>;
}

export interface EditorOptions {
  readonly parent: HTMLElement;
  readonly code: string;
  readonly label: string;
  /** Where the reader clicked, to put the caret there. */
  readonly at: { readonly x: number; readonly y: number } | null;
  /** Null in the offline copy. */
  readonly assistant: Assistant | null;
  onRun(): void;
  onChange(code: string): void;
}

export interface MountedEditor {
  code(): string;
  focus(): void;
  /** Mark the line that failed, until the code changes; null takes the mark away. */
  mark(line: number | null): void;
  goTo(line: number): void;
  destroy(): void;
}
