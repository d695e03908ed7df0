// Owns a menu in the Lab's head: a fold that Escape and a press beside it close.

import { el } from "../../dom";

export function menu(words: string, tour: string, inside: HTMLElement, signal: AbortSignal): HTMLDetailsElement {
  const summary = el("summary", { class: "lab-button" }, words);
  const fold = el("details", { class: "lab-menu", "data-tour": tour }, summary, inside);
  fold.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !fold.open) return;
    event.stopPropagation();
    fold.open = false;
    summary.focus();
  }, { signal });
  document.addEventListener("pointerdown", (event) => {
    if (event.target instanceof Node && !fold.contains(event.target)) fold.open = false;
  }, { signal });
  return fold;
}
