// Owns the field in which a cell asks its reader something: `input()` and `getpass()`.

import { el } from "../dom";
import type { Question } from "./contract";

export function questionView({ prompt, isSecret, answer, over }: Question, signal: AbortSignal): HTMLElement {
  const words = prompt.trim() === "" ? "The cell asks for a line of text" : prompt;
  const field = el("input", { type: isSecret ? "password" : "text", autocomplete: "off", spellcheck: "false", class: "tl-answer" });
  const send = el("button", { type: "submit", class: "tl-button" }, "Send");
  const form = el("form", { class: "tl-question" }, el("label", {}, el("span", {}, words), field), send);
  let isOver = false;
  const close = (text: string): void => {
    isOver = true;
    const said = el("pre", { class: "tl-stream tl-stdout" }, `${prompt}${text}`);
    const hadFocus = form.contains(document.activeElement);
    form.replaceWith(said);
    if (hadFocus) {
      // The field is gone: the reader goes on where it was.
      said.tabIndex = -1;
      said.focus({ preventScroll: true });
    }
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (isOver) return;
    answer(field.value);
    close(isSecret ? "•".repeat(Math.min(field.value.length, 12)) : field.value);
  }, { signal });
  void over.then(() => !isOver && close("(not answered)"));
  return form;
}

/** The reader is asked only if they are not busy elsewhere on the page. */
export function focusQuestion(view: HTMLElement): void {
  const active = document.activeElement;
  const isFree = active === null || active === document.body || view.closest(".cell")?.contains(active) === true;
  if (isFree) view.querySelector<HTMLElement>("input")?.focus({ preventScroll: true });
}
