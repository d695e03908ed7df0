// Owns what a failed cell offers: the way to its line, and a question to the chat. Pure but for the buttons.

import { el } from "../dom";
import type { Place } from "../live/place";

export interface Failure {
  readonly name: string;
  readonly message: string;
  readonly place: Place | null;
}

/** The chat takes questions of at most a thousand characters. */
const MAX_MESSAGE = 400;
const MAX_LINE = 200;

export function questionAbout(failure: Failure): string {
  const message = failure.message ? `: ${cut(failure.message, MAX_MESSAGE)}` : "";
  const line = failure.place?.text ? ` at the line \`${cut(failure.place.text, MAX_LINE)}\`` : "";
  return `My cell failed with \`${failure.name}${message}\`${line}. What does this error mean, and how do I repair it?`;
}

export interface FailureActions {
  readonly goTo: ((line: number) => void) | null;
  /** Null where there is no chat. */
  readonly ask: ((question: string) => void) | null;
}

/** The buttons below an error; null when there is nothing to offer. */
export function failureButtons(failure: Failure, { goTo, ask }: FailureActions): HTMLElement | null {
  const row = el("div", { class: "tl-error-actions" });
  const add = (words: string, press: () => void): void => {
    const button = el("button", { type: "button", class: "tl-button" }, words);
    button.addEventListener("click", press);
    row.append(button);
  };
  const line = failure.place?.line;
  if (goTo && line !== undefined) add(`Go to line ${line}`, () => goTo(line));
  if (ask) add("Explain this", () => ask(questionAbout(failure)));
  return row.childElementCount > 0 ? row : null;
}

function cut(text: string, most: number): string {
  const line = text.replace(/\s+/g, " ").replaceAll("`", "'").trim();
  return line.length > most ? `${line.slice(0, most)}…` : line;
}
