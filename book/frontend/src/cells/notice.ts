// Owns a sentence with a way out, shown inside a cell, the status line or the chat. Text only, commands as code.

import { el, type Child } from "../dom";
import { codePieces, type Problem } from "../server_error";

export interface NoticeAction {
  readonly words: string;
  press(): void;
}

export function notice(problem: Pick<Problem, "message" | "hint">, actions: readonly NoticeAction[] = []): HTMLElement {
  const buttons = actions.map(({ words, press }) => {
    const button = el("button", { type: "button", class: "tl-button tl-primary" }, words);
    button.addEventListener("click", press);
    return button;
  });
  return el(
    "div",
    { class: "tl-notice", role: "alert" },
    el("p", {}, el("strong", {}, ...withCode(problem.message)), " ", ...withCode(problem.hint)),
    ...buttons,
  );
}

/** Text with its `commands` set as code. */
export function withCode(text: string): Child[] {
  return codePieces(text).map((piece, index) => (index % 2 === 1 ? el("code", {}, piece) : piece));
}
