// Owns how the pages of the modes are laid out: numbered steps beside the outcome, and further pictures below. It asks nothing.

import { el } from "../../dom";
import type { LabHost } from "../app_contract";

export function step(number: number, title: string, ...inside: readonly HTMLElement[]): HTMLElement {
  return el("section", { class: "lab-step" }, el("h4", {}, el("span", { class: "lab-step-number", "aria-hidden": "true" }, String(number)), title), ...inside);
}

export function columns(left: readonly HTMLElement[], right: readonly HTMLElement[]): HTMLElement {
  return el("div", { class: "lab-columns" }, el("div", { class: "lab-left" }, ...left), el("div", { class: "lab-right" }, ...right));
}

export function picture(title: string, hint: string, ...inside: readonly HTMLElement[]): HTMLElement {
  return el("section", { class: "lab-wide-view" }, el("h4", {}, title), el("p", { class: "lab-soft" }, hint), ...inside);
}

/** The words of a mode, each with its definition at hand. */
export function terms(lab: LabHost, ...names: readonly string[]): HTMLElement {
  return el("p", { class: "lab-soft lab-terms" }, "Words: ", ...names.flatMap((name, at) => (at === 0 ? [lab.term(name)] : [" · ", lab.term(name)])));
}
