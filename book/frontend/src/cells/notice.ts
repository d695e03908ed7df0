// Owns a sentence with a way out, shown inside a cell, the status line or the chat. Text only, commands as code.

import { el, type Child } from "../dom";
import { codePieces, type Problem } from "../server_error";

export interface NoticeAction {
  readonly words: string;
  press(): void;
}

export function notice(problem: Pick<Problem, "message" | "hint">, actions: readonly NoticeAction[] = []): HTMLElement {
  return el(
    "div",
    { class: "tl-notice", role: "alert" },
    el("p", {}, el("strong", {}, ...withCode(problem.message)), " ", ...withCode(problem.hint)),
    ...actions.map(actionButton),
  );
}

/** Asks which code counts, when the book's has changed since the reader's edit. */
export function outdatedNotice(mine: string, keepMine: () => void, takeBook: () => void): HTMLElement {
  const words = "Your edit is kept; choose which of the two this cell is to run.";
  const edit = el("details", {}, el("summary", {}, "Show your edit"), el("pre", { tabindex: "0" }, mine));
  const asked = notice({ message: "The book's code has changed since your edit.", hint: words });
  // Nothing happened just now: it waits to be found, and interrupts nobody.
  asked.setAttribute("role", "group");
  asked.append(
    edit,
    actionButton({ words: "Use my edit", press: keepMine }),
    actionButton({ words: "Use the book's code", press: takeBook }, 1),
  );
  return asked;
}

function actionButton({ words, press }: NoticeAction, index = 0): HTMLElement {
  const button = el("button", { type: "button", class: `tl-button ${index === 0 ? "tl-primary" : ""}`.trim() }, words);
  button.addEventListener("click", press);
  return button;
}

/** Text with its `commands` set as code. */
export function withCode(text: string): Child[] {
  return codePieces(text).map((piece, index) => (index % 2 === 1 ? el("code", {}, piece) : piece));
}
