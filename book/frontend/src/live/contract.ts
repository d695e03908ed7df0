// Owns the words that the page and the kernel client share. It runs nothing.

import type { Problem } from "../server_error";

/** What a kernel says while it runs a cell, free of the wire format. */
export type OutputEvent =
  | { readonly kind: "stream"; readonly name: "stdout" | "stderr"; readonly text: string }
  | { readonly kind: "display"; readonly bundle: MimeBundle; readonly displayId: string | null }
  | { readonly kind: "update"; readonly bundle: MimeBundle; readonly displayId: string }
  | { readonly kind: "clear"; readonly wait: boolean }
  | { readonly kind: "ask"; readonly question: Question }
  | { readonly kind: "error"; readonly error: CellError };

/** A line that the cell asks its reader for. */
export interface Question {
  readonly prompt: string;
  readonly isSecret: boolean;
  /** Resolves when the run has ended, answered or not. */
  readonly over: Promise<void>;
  answer(value: string): void;
}

export type MimeBundle = Readonly<Record<string, unknown>>;

export interface CellError {
  readonly name: string;
  readonly message: string;
  readonly traceback: readonly string[];
  /** The execution count of the run, to find this cell's lines in the traceback. */
  readonly execution: number | null;
}

export type RunResult =
  | { readonly kind: "ok" }
  | { readonly kind: "error"; readonly error: CellError }
  | { readonly kind: "lost" };

/** What the page hears about its kernel between runs. */
export interface KernelEvents {
  onBusy(busy: boolean): void;
  onReconnecting(): void;
  onReady(): void;
  onDead(): void;
  onFailed(problem: Problem): void;
}

export interface LiveKernel {
  run(code: string, onOutput: (event: OutputEvent) => void): Promise<RunResult>;
  interrupt(): Promise<void>;
  /** Give the kernel back, best effort, also while the page goes away. */
  close(): void;
}

/** The live outputs of one run of one cell. */
export interface CellOutputs {
  readonly isEmpty: boolean;
  handle(event: OutputEvent): void;
  /** Resolves when everything handled so far is drawn. */
  drawn(): Promise<void>;
}
