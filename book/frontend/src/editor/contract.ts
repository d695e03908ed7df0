// Owns the words that a cell and its editor share. It runs nothing.

export interface EditorOptions {
  readonly parent: HTMLElement;
  readonly code: string;
  readonly label: string;
  /** Where the reader clicked, to put the caret there. */
  readonly at: { readonly x: number; readonly y: number } | null;
  onRun(): void;
}

export interface MountedEditor {
  code(): string;
  focus(): void;
  destroy(): void;
}
