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
  | { readonly kind: "ok"; readonly execution: number | null }
  | { readonly kind: "error"; readonly error: CellError }
  /** The run ended while the connection was away: how, nobody saw. */
  | { readonly kind: "unseen" }
  | { readonly kind: "lost" };

/** Why a kernel is no more: its process ended, or the service does not know it any longer. */
export type EndOfKernel = "died" | "gone";

/** Where a reader stands in the line of a full service: number 1 is next. */
export interface Place {
  readonly number: number;
  readonly of: number;
}

/** What the page hears about its kernel between runs. */
export interface KernelEvents {
  /** There is no kernel yet; answers whether to go on waiting. */
  onWaiting(place: Place): boolean;
  onBusy(busy: boolean): void;
  onReconnecting(): void;
  onReady(): void;
  onDead(end: EndOfKernel): void;
  onFailed(problem: Problem): void;
}

/** After how many seconds the service takes a kernel back. */
export interface KernelLimits {
  readonly idle_s: number;
}

export interface Completions {
  readonly from: number;
  readonly to: number;
  readonly names: readonly { readonly text: string; readonly kind: string }[];
}

export interface LiveKernel {
  readonly id: string;
  /** Whether it is the kernel that was asked for by its id. */
  readonly isKept: boolean;
  readonly limits: KernelLimits | null;
  run(code: string, onOutput: (event: OutputEvent) => void): Promise<RunResult>;
  /** Run code beside the cells, and answer with the first thing that it shows; rejects with its error as a problem. */
  show(code: string): Promise<MimeBundle>;
  interrupt(): Promise<void>;
  /** Do nothing in the kernel, so that the service sees that it is needed. */
  touch(): Promise<void>;
  complete(code: string, at: number): Promise<Completions>;
  /** What the kernel says about the name at a place, as plain text; empty when it knows nothing. */
  inspect(code: string, at: number): Promise<string>;
  /** Which of these names the kernel's session holds. */
  known(names: readonly string[]): Promise<ReadonlySet<string>>;
  /** Give the kernel back, best effort, also while the page goes away. */
  close(): void;
  /** Let go of the kernel, which lives on for another page. */
  leave(): void;
}

/** The live outputs of one run of one cell. */
export interface CellOutputs {
  readonly isEmpty: boolean;
  handle(event: OutputEvent): void;
  /** Resolves when everything handled so far is drawn. */
  drawn(): Promise<void>;
}
