// Owns what a mode shows about a question that cannot be answered, is being answered, or was refused.

import { el } from "../../dom";
import type { LabHost } from "../app_contract";
import type { Question, Refusal } from "../contract";

export function button(words: string, press: () => void, signal: AbortSignal, isMain = false): HTMLButtonElement {
  const made = el("button", { type: "button", class: isMain ? "lab-button lab-primary" : "lab-button" }, words);
  made.addEventListener("click", press, { signal });
  return made;
}

/** The way to a kernel, or the sentence that says where there is one; null where one is connected already. */
export function wayToLive(lab: LabHost, signal: AbortSignal): HTMLElement | null {
  const { connection } = lab.store.now;
  if (connection.kind === "live") return null;
  if (connection.kind === "starting") return el("p", { class: "lab-soft" }, "A kernel is starting: a few seconds yet.");
  if (connection.canStart) return button(connection.kind === "lost" ? "Reconnect" : "Go live", () => lab.goLive(), signal, true);
  return el("p", { class: "lab-soft" }, "Open this page from the book's server, or call tlab.lab() in your own notebook, to ask anything.");
}

/** Shown instead of the run button where neither a stored answer nor a kernel is to be had. */
export function notHeld(lab: LabHost, instead: readonly HTMLElement[], signal: AbortSignal): HTMLElement {
  const way = wayToLive(lab, signal);
  const offer = instead.length > 0 ? [el("p", {}, "Or take one that is stored:"), el("div", { class: "lab-row" }, ...instead)] : [];
  return el(
    "div",
    { class: "lab-note", "data-kind": "needs-kernel" },
    el("p", {}, "This Lab is frozen: it holds answers that were computed when the book was built, and this question is not among them."),
    ...(way ? [way] : []),
    ...offer,
  );
}

/** A bar that says how far an answer is, and the button that stops it. `update(null)`: nobody knows. */
export function progress(words: string, cancel: () => void, signal: AbortSignal): { readonly element: HTMLElement; update(share: number | null): void } {
  const bar = el("progress", { "aria-label": words, max: "1" });
  const number = el("span", { class: "lab-number" });
  const element = el("div", { class: "lab-progress", role: "group" }, el("span", {}, words), bar, number, button("Cancel", cancel, signal));
  return {
    element,
    update: (share) => {
      if (share === null) return;
      bar.value = share;
      number.textContent = `${Math.round(100 * share)}%`;
    },
  };
}

/** A refusal as a sentence, with another try. */
export function refused(refusal: Refusal, again: () => void, lab: LabHost, signal: AbortSignal): HTMLElement {
  const way = refusal.code === "needs-kernel" || lab.store.now.connection.kind === "lost" ? wayToLive(lab, signal) : null;
  const tries = button("Try again", again, signal);
  return el("div", { class: "lab-note", "data-kind": "failed", role: "alert" }, el("p", {}, `✗ ${refusal.message}`), el("div", { class: "lab-row" }, ...(way ? [way] : []), tries));
}

/** The stored questions of this kind as buttons, at most so many. */
export function storedChoices<A extends Question["ask"]>(
  lab: LabHost, ask: A, words: (question: Extract<Question, { ask: A }>) => string, take: (question: Extract<Question, { ask: A }>) => void, signal: AbortSignal, most = 6,
): readonly HTMLElement[] {
  return lab.frozenQuestions(ask).slice(0, most).map((question) => button(words(question), () => take(question), signal));
}
