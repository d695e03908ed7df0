// Owns the badge by which each picture says which run it shows: a sign, a word and a colour.

import { el } from "../../dom";

export type Run = "clean" | "corrupted" | "patched";

const SIGNS: Readonly<Record<Run, string>> = { clean: "○", corrupted: "△", patched: "◆" };

/** @param words what the run is, where "clean run" does not say enough: "patched run: L3H4 off". */
export function runBadge(run: Run, words = `${run} run`): HTMLElement {
  return el("span", { class: "lab-run", "data-run": run }, el("span", { "aria-hidden": "true" }, `${SIGNS[run]} `), words);
}
