// Owns bars to both sides of zero: tokens that a write speaks for and against, with sign and number.

import { el } from "../../dom";
import { signed, visible } from "./words";

export interface SignedBar {
  readonly token: string;
  readonly effect: number;
}

/** @param name what the list is, for a screen reader. */
export function effectBars(effects: readonly SignedBar[], name: string, unit = "logits"): HTMLElement {
  const most = Math.max(...effects.map(({ effect }) => Math.abs(effect)), 1e-9);
  const list = el("ol", { class: "lab-effects", "aria-label": name });
  for (const { token, effect } of effects) {
    const bar = el("span", { class: "lab-effect", "data-sign": effect < 0 ? "against" : "for", "aria-hidden": "true" });
    bar.style.setProperty("--p", String(Math.abs(effect) / most));
    const number = el("span", { class: "lab-number" }, signed(effect), el("span", { class: "lab-hidden" }, ` ${unit}`));
    list.append(el("li", {}, el("code", { class: "lab-token" }, visible(token)), bar, number));
  }
  return list;
}
