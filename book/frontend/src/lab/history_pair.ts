// Owns two experiments side by side: what each asked, what came, and how far their numbers lie apart.

import { el } from "../dom";
import type { Entry } from "./app_contract";
import { percent, signed, visible } from "./drawing/words";
import { isBeforeAfter } from "./history_list";
import { nats } from "./modes/sentences";

export interface PairRow {
  readonly words: string;
  readonly a: string;
  readonly b: string;
}

/** The rows of the comparison; numbers that only one of them has stand alone. */
export function pairRows(a: Entry, b: Entry): readonly PairRow[] {
  const rows: PairRow[] = [{ words: "prompt", a: a.question.prompt, b: b.question.prompt }];
  const [left, right] = [valuesOf(a), valuesOf(b)];
  for (const words of new Set([...left.keys(), ...right.keys()])) rows.push({ words, a: left.get(words) ?? "–", b: right.get(words) ?? "–" });
  return rows;
}

function valuesOf({ answer }: Entry): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  if (answer === null) return values.set("result", "not run yet");
  if (isBeforeAfter(answer)) {
    values.set("token", visible(answer.token));
    values.set("before", percent(answer.clean_p));
    values.set("after", percent(answer.patched_p));
    values.set("change", `${signed(100 * (answer.patched_p - answer.clean_p), 1)} points`);
  }
  if ("kl_nats" in answer) values.set("KL", nats(answer.kl_nats as number));
  if ("recovered" in answer && typeof answer.recovered === "number") values.set("way back", percent(answer.recovered));
  if ("steered_text" in answer) values.set("text", answer.steered_text);
  return values.set("in words", answer.explain);
}

export function besides(a: Entry, b: Entry): HTMLElement {
  const head = el("tr", {}, el("td", {}), el("th", { scope: "col" }, a.name), el("th", { scope: "col" }, b.name));
  const rows = pairRows(a, b).map(({ words, a: left, b: right }) => {
    const differs = left === right ? {} : { "data-changed": true };
    return el("tr", differs, el("th", { scope: "row" }, words), el("td", {}, left), el("td", {}, right));
  });
  const shift = isBeforeAfter(a.answer) && isBeforeAfter(b.answer) && a.answer.token === b.answer.token ? b.answer.patched_p - a.answer.patched_p : null;
  const said = shift === null ? [] : [el("p", {}, `After the second experiment the token stands ${signed(100 * shift, 1)} points from where the first left it.`)];
  return el("div", {}, el("table", { class: "lab-numbers" }, el("caption", {}, "Two experiments side by side"), el("thead", {}, head), el("tbody", {}, ...rows)), ...said);
}
