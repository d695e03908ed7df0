// Owns what every answer says about itself in words: the reading, the caveats, and who computed it.

import { el } from "../../dom";
import type { AnsweredBy } from "../app_contract";
import type { Said } from "../contract";

export function answerText(said: Said, by: AnsweredBy | null = null, took_ms = 0): HTMLElement {
  const care = said.caveats.length === 0 ? [] : [
    el("div", { class: "lab-care" }, el("h5", {}, "△ Read with care"), el("ul", {}, ...said.caveats.map((caveat) => el("li", {}, caveat)))),
  ];
  const source = by === null ? [] : [el("p", { class: "lab-soft lab-by" }, byWords(by, took_ms))];
  return el("div", { class: "lab-reading" }, el("h5", {}, "In plain words"), el("p", {}, said.explain), ...care, ...source);
}

function byWords(by: AnsweredBy, took_ms: number): string {
  if (by === "frozen") return "Stored answer, computed by tlab when the book was built.";
  return took_ms > 0 ? `Computed live in ${took_ms < 950 ? `${Math.round(took_ms)} ms` : `${(took_ms / 1000).toFixed(1)} s`}.` : "Computed live.";
}
