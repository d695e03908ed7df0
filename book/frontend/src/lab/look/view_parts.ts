// Owns what the views of components share: headings, captions, vectors, sentences below.

import { el } from "../../dom";
import type { LabHost } from "../app_contract";
import type { Said, Token, Vector } from "../contract";
import { runBadge } from "../drawing/run_badge";
import { plain, visible } from "../drawing/words";

export interface ViewPlace {
  readonly lab: LabHost;
  readonly tokens: readonly Token[];
  readonly signal: AbortSignal;
}

/** Which component, at which position, of which run. */
export function viewHead(title: string, position: number, tokens: readonly Token[], closes: () => void): HTMLElement {
  const close = el("button", { type: "button", class: "lab-button lab-quiet", "aria-label": "Close this view" }, "Close");
  close.addEventListener("click", closes);
  const at = el("span", { class: "lab-at" }, "at position ", String(position), " ", el("code", { class: "lab-token" }, visible(tokens[position]?.text ?? "")));
  return el("div", { class: "lab-view-head" }, el("h4", { class: "lab-h" }, title), at, runBadge("clean"), close);
}

export function said({ explain, caveats }: Said): HTMLElement {
  const box = el("div", { class: "lab-said" });
  if (explain) box.append(el("p", { class: "lab-explain" }, explain));
  if (caveats.length > 0) box.append(el("ul", { class: "lab-caveats", "aria-label": "To keep in mind" }, ...caveats.map((caveat) => el("li", {}, caveat))));
  return box;
}

/** A box with a small heading. */
export function box(title: string | HTMLElement, ...children: (Node | string)[]): HTMLElement {
  return el("section", { class: "lab-box" }, el("h5", { class: "lab-h" }, title), ...children);
}

/** A vector's first numbers as bars around zero, its length beside. */
export function vectorStrip(name: string, vector: Vector, words: string): HTMLElement {
  const most = Math.max(...vector.first.map(Math.abs), 1e-9);
  const cells = vector.first.map((value) => {
    const cell = el("span", { "data-sign": value < 0 ? "against" : "for" });
    cell.style.setProperty("--p", String(Math.abs(value) / most));
    return cell;
  });
  const strip = el("span", { class: "lab-vector-strip", role: "img", "aria-label": `first ${vector.first.length} numbers: ${vector.first.map((value) => plain(value)).join(", ")}` }, ...cells);
  return el("div", { class: "lab-vector" }, el("span", { class: "lab-vector-name" }, el("strong", {}, name), ` ${words}`), strip, el("span", { class: "lab-number" }, `length ${plain(vector.norm)}`));
}
