// Owns the picture of one patch: how far it brought the corrupted run back, and the three predictions side by side.

import { el } from "../../dom";
import type { Guess, PatchAnswer } from "../contract";
import { runBadge } from "../drawing/pictures";
import { visible } from "../drawing/words";
import { barCell, leastOf } from "./before_after";
import { percentOfWay } from "./forecasts";
import { quoted } from "./sentences";

interface ThreeRow {
  readonly id: number;
  readonly token: string;
  readonly corrupted: number | null;
  readonly patched: number | null;
  readonly clean: number | null;
}

/** Every token that one of the three runs names, the likeliest in any of them first. */
export function threeRows(answer: Pick<PatchAnswer, "corrupted" | "patched" | "clean">, most = 8): readonly ThreeRow[] {
  const rows = new Map<number, ThreeRow>();
  const take = (guesses: readonly Guess[], run: "corrupted" | "patched" | "clean"): void => {
    for (const { id, token, p } of guesses) rows.set(id, { ...(rows.get(id) ?? { id, token, corrupted: null, patched: null, clean: null }), [run]: p });
  };
  take(answer.corrupted, "corrupted");
  take(answer.patched, "patched");
  take(answer.clean, "clean");
  const weight = (row: ThreeRow): number => Math.max(row.corrupted ?? 0, row.patched ?? 0, row.clean ?? 0);
  return [...rows.values()].sort((a, b) => weight(b) - weight(a)).slice(0, most);
}

export function patchResult(answer: PatchAnswer, where: string): HTMLElement {
  return el("div", { class: "lab-before-after" }, track(answer), table(answer, where));
}

/** From the corrupted run to the clean one, and where the patched run stands between or beyond them. */
function track(answer: PatchAnswer): HTMLElement {
  const share = answer.recovered ?? 0;
  const known = answer.controls.filter((value) => value !== null);
  // The line shows from a fifth before the corrupted run to a fifth behind the clean one; what is beyond stands at its end.
  const at = (value: number): string => String(Math.min(1, Math.max(0, (value + 0.2) / 1.4)));
  const dot = (kind: string, sign: string, value: number): HTMLElement => {
    const mark = el("span", { class: "lab-dot", "data-kind": kind }, sign);
    mark.style.setProperty("--p", at(value));
    return mark;
  };
  const line = el("div", { class: "lab-ruler", "aria-hidden": "true" }, ...known.map((value) => dot("control", "×", value)), dot("corrupted", "△", 0), dot("clean", "○", 1), dot("patched", "◆", share));
  return el(
    "div",
    { class: "lab-headline" },
    el("p", { class: "lab-headline-of" }, "Between ", el("code", { class: "lab-token" }, visible(answer.token)), " and ", el("code", { class: "lab-token" }, visible(answer.against))),
    el("p", { class: "lab-headline-numbers" }, ...wayBack(answer.recovered)),
    line,
    el("div", { class: "lab-ruler-scale lab-ends", "aria-hidden": "true" }, el("span", {}, "△ corrupted: 0%"), el("span", {}, "○ clean: 100%")),
    ...controlWords(known),
    el("p", { class: "lab-soft" }, `Measured as the logit of ${quoted(answer.token)} minus that of ${quoted(answer.against)}.`),
  );
}

function wayBack(recovered: number | null): HTMLElement[] {
  if (recovered === null) return [el("span", { class: "lab-change" }, "The two runs do not differ, so there is no way back to measure.")];
  return [el("span", { class: "lab-big lab-alone" }, percentOfWay(recovered)), el("span", { class: "lab-change" }, "of the way back to the clean run")];
}

/** What random other places of the same kind bring back. */
function controlWords(controls: readonly number[]): HTMLElement[] {
  if (controls.length === 0) return [];
  const range = `${percentOfWay(Math.min(...controls))} to ${percentOfWay(Math.max(...controls))}`;
  return [el("p", {}, `× ${controls.length} random other places of the same kind: ${range} of the way.`)];
}

function table(answer: PatchAnswer, where: string): HTMLElement {
  const badges = [runBadge("corrupted"), runBadge("patched", `patched run: ${where}`), runBadge("clean")];
  const head = el("tr", {}, el("th", { scope: "col" }, "Next token"), ...badges.map((badge) => el("th", { scope: "col" }, badge)));
  const shown = threeRows(answer).map((row) => (row.token === answer.token ? { ...row, patched: answer.patched_p, clean: answer.clean_p } : row));
  const least = { corrupted: leastOf(shown.map(({ corrupted }) => corrupted)), patched: leastOf(shown.map(({ patched }) => patched)), clean: leastOf(shown.map(({ clean }) => clean)) };
  const rows = shown.map((row) => {
    const token = el("th", { scope: "row" }, el("code", { class: "lab-token" }, visible(row.token)));
    const isFollowed = row.token === answer.token;
    return el("tr", isFollowed ? { "data-followed": true } : {}, token, barCell(row.corrupted, "before", least.corrupted), barCell(row.patched, "after", least.patched), barCell(row.clean, "clean", least.clean));
  });
  const caption = el("caption", { class: "lab-hidden" }, "Likeliest next tokens in the corrupted, the patched and the clean run");
  return el("table", { class: "lab-changes", "data-before": "corrupted" }, caption, el("thead", {}, head), el("tbody", {}, ...rows));
}
