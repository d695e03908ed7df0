// Owns the words that the page and its widget manager share. It runs nothing.

import type { CellOutputs, OutputEvent } from "../live/contract";
import type { WidgetModel } from "../lab/sources/live";
import type { Host } from "../parts";

/** What the live part lends to the widgets, so that they bring no second kernel client, renderer or sanitiser. */
export interface WidgetTools {
  readonly host: Host;
  openOutputs(container: HTMLElement, signal: AbortSignal): CellOutputs;
  /** A kernel's message as an output event, null when it is none. */
  translate(message: unknown): OutputEvent | null;
  sanitise(html: string): DocumentFragment;
  /** Hear the outputs that answer one message, instead of the cell that sent it; the result stops that. */
  divert(messageId: string, hear: (message: unknown) => void): () => void;
}

/** Where the outputs of a widget's callbacks go: the outputs of the cell that shows it. */
export type OutputSink = Pick<CellOutputs, "handle">;

export interface WidgetManager {
  /** A widget was made in the kernel. */
  opened(comm: unknown, message: unknown): Promise<void>;
  /** Make the models of a stored page; there is no kernel behind them. */
  restore(state: unknown): Promise<void>;
  has(modelId: string): boolean;
  show(target: HTMLElement, modelId: string, sink: OutputSink, signal: AbortSignal): Promise<void>;
  /** A widget's model for code of the page; `onLost` hears that its kernel is gone. */
  lend(modelId: string, onLost: () => void): Promise<WidgetModel>;
  /** The kernel is gone: what is on the page stays, and computes nothing. */
  disconnect(): void;
}

export interface WidgetsPart {
  createManager(tools: WidgetTools): WidgetManager;
}
