// Owns the states of a cell and of the page's kernel, and their words. Refuses to touch the page.

import { unreachable } from "../dom";
import type { Place } from "../live/contract";
import type { Problem } from "../server_error";

export type CellState =
  | { readonly kind: "stored" }
  | { readonly kind: "queued"; readonly place: number }
  | { readonly kind: "running" }
  | { readonly kind: "live" }
  | { readonly kind: "error"; readonly name: string };

export type KernelState =
  | { readonly kind: "idle" }
  | { readonly kind: "starting" }
  | { readonly kind: "waiting"; readonly place: Place }
  | { readonly kind: "ready" }
  | { readonly kind: "busy" }
  | { readonly kind: "reconnecting" }
  | { readonly kind: "dead"; readonly problem: Problem }
  | { readonly kind: "failed"; readonly problem: Problem };

/** How far a press that runs several cells has come. */
export interface Progress {
  readonly cell: number;
  readonly of: number;
}

/** The badge of a cell: which of the two outputs is shown, and what is happening. */
export function cellLabel(state: CellState, hasStored: boolean): string {
  switch (state.kind) {
    case "stored":
      return hasStored ? "stored output" : "not run yet";
    case "queued":
      return "queued";
    case "running":
      return "running…";
    case "live":
      return "live output";
    case "error":
      return `live output: ${state.name}`;
    default:
      return unreachable(state);
  }
}

/** How long a queued cell still waits; beside the badge, so that a listener does not hear every step of every cell. */
export function placeLabel(state: CellState): string {
  if (state.kind !== "queued") return "";
  return state.place === 1 ? "next" : `${state.place - 1} before it`;
}

/** The status line of the page. */
export function kernelLabel(state: KernelState, progress: Progress | null = null): string {
  const part = progress ? `: cell ${progress.cell} of ${progress.of}` : "";
  switch (state.kind) {
    case "idle":
      return "Cells are live: press Run.";
    case "starting":
      return "Starting a kernel…";
    case "waiting":
      return `All kernels are taken: you are number ${state.place.number} of ${state.place.of} in line for the next one.`;
    case "ready":
      return progress ? `Running${part}` : "Kernel ready";
    case "busy":
      return progress ? `Running${part}` : "Kernel busy";
    case "reconnecting":
      return "Connection lost, reconnecting…";
    case "dead":
    case "failed":
      return `${state.problem.message} ${state.problem.hint}`;
    default:
      return unreachable(state);
  }
}

/** Whether a new kernel must be asked for before anything can run. */
export function needsNewKernel(state: KernelState): boolean {
  switch (state.kind) {
    case "idle":
    case "dead":
    case "failed":
      return true;
    case "starting":
    case "waiting":
    case "ready":
    case "busy":
    case "reconnecting":
      return false;
    default:
      return unreachable(state);
  }
}

export function isPending(state: CellState): boolean {
  switch (state.kind) {
    case "queued":
    case "running":
      return true;
    case "stored":
    case "live":
    case "error":
      return false;
    default:
      return unreachable(state);
  }
}

/** A duration in the unit that a reader would say. */
export function duration(elapsed_ms: number): string {
  if (elapsed_ms < 1000) return `${Math.max(1, Math.round(elapsed_ms))} ms`;
  if (elapsed_ms < 59_950) return `${(elapsed_ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(elapsed_ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** A limit, in whole minutes where it has any. */
export function roundDuration(limit_s: number): string {
  return limit_s < 60 ? `${Math.round(limit_s)} s` : `${Math.round(limit_s / 60)} minutes`;
}

/** `cells 1, 2 and 4`. */
export function cellList(indices: readonly number[]): string {
  const numbers = [...indices].sort((a, b) => a - b).map((index) => String(index + 1));
  if (numbers.length < 2) return `cell ${numbers[0] ?? ""}`.trim();
  return `cells ${numbers.slice(0, -1).join(", ")} and ${numbers.at(-1)}`;
}
