// Owns the bars of a next-token prediction: token, bar, number; a list, so that it reads without colours.

import { el } from "../../dom";
import type { Guess } from "../contract";
import { percent, visible } from "./words";

export interface GuessBarsOptions {
  /** What the list is, for a screen reader: "Likeliest next tokens after ␣cat". */
  readonly name: string;
  /** Probabilities before a change, by token id: shown as a line in each bar. */
  readonly before?: ReadonlyMap<number, number>;
  /** The token id to point out. */
  readonly followed?: number;
}

export function guessBars(guesses: readonly Guess[], options: GuessBarsOptions): HTMLElement {
  const list = el("ol", { class: "lab-guesses", "aria-label": options.name });
  for (const guess of guesses) list.append(row(guess, options));
  return list;
}

function row(guess: Guess, { before, followed }: GuessBarsOptions): HTMLElement {
  const bar = el("span", { class: "lab-bar", "aria-hidden": "true" });
  bar.style.setProperty("--p", String(Math.min(1, Math.max(0, guess.p))));
  const was = before?.get(guess.id);
  if (was !== undefined) bar.append(line(was));
  const token = el("code", { class: "lab-token" }, visible(guess.token));
  const number = el("span", { class: "lab-number" }, percent(guess.p));
  const item = el("li", guess.id === followed ? { "data-followed": true } : {}, token, bar, number);
  if (was !== undefined) item.append(el("span", { class: "lab-was" }, `was ${percent(was)}`));
  return item;
}

function line(p: number): HTMLElement {
  const mark = el("span", { class: "lab-bar-was" });
  mark.style.setProperty("--p", String(Math.min(1, Math.max(0, p))));
  return mark;
}
