// Owns the states of a cell and of the page's kernel, and their words. Refuses to touch the page.

import { unreachable } from "../dom";
import type { Problem } from "../server_error";

export type CellState =
  | { readonly kind: "stored" }
  | { readonly kind: "queued" }
  | { readonly kind: "running" }
  | { readonly kind: "live" }
  | { readonly kind: "error"; readonly name: string };

export type KernelState =
  | { readonly kind: "idle" }
  | { readonly kind: "starting" }
  | { readonly kind: "ready" }
  | { readonly kind: "busy" }
  | { readonly kind: "reconnecting" }
  | { readonly kind: "dead" }
  | { readonly kind: "failed"; readonly problem: Problem };

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

/** The status line of the page. */
export function kernelLabel(state: KernelState): string {
  switch (state.kind) {
    case "idle":
      return "Cells are live: press Run.";
    case "starting":
      return "Starting a kernel…";
    case "ready":
      return "Kernel ready";
    case "busy":
      return "Kernel busy";
    case "reconnecting":
      return "Connection lost, reconnecting…";
    case "dead":
      return "The kernel died, and what it had computed is gone. Start a new one and run the cells again.";
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
