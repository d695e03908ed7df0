// Owns what a page says about runs and kernels beside their states. Sentences only.

import type { Problem } from "../server_error";
import { cellList } from "./states";

type Sentence = Pick<Problem, "message" | "hint">;

export const UNKEPT = "This browser does not keep your edits: its storage is full or forbidden. They last until you leave the page.";
export const TAKEN_UP = "This is the kernel of the page before: what ran there is still in it.";
export const NOT_TAKEN_UP = "The kernel of the page before is gone, so this page has a new one.";

export const UNSEEN: Sentence = {
  message: "The connection broke while this cell ran.",
  hint: "It ran to its end in the kernel, but some of its output may be missing here.",
};

export const NAME_MISSING: Sentence = {
  message: "A name is missing.",
  hint: "Cells above have not run in this kernel yet; this one may need them.",
};

export function failedAbove(index: number): Sentence {
  return { message: `Cell ${index + 1} above failed, so this one did not run.`, hint: "Look at its output first." };
}

/** A kernel's end, with what went with it. */
export function withLoss(problem: Problem, cells: readonly number[]): Problem {
  if (cells.length === 0) return problem;
  return { ...problem, hint: `What ${cellList(cells)} had computed is lost. ${problem.hint}` };
}
