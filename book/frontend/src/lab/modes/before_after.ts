// Owns the comparison of two predictions: the number that matters in front, then two columns of bars and their changes.

import { el } from "../../dom";
import type { BeforeAfter, Guess } from "../contract";
import { runBadge } from "../drawing/pictures";
import { percent, plain, visible } from "../drawing/words";
import { ARROWS, directionOf, klWord, nats, points, quoted, WENT } from "./sentences";

export interface ChangeRow {
  readonly id: number;
  readonly token: string;
  /** null: not among the tokens that the run's list names. */
  readonly before: number | null;
  readonly after: number | null;
}

/** Every token that either run names, the likeliest in either first; at most so many. */
export function changeRows(before: readonly Guess[], after: readonly Guess[], most = 8): readonly ChangeRow[] {
  const rows = new Map<number, ChangeRow>();
  for (const { id, token, p } of before) rows.set(id, { id, token, before: p, after: null });
  for (const { id, token, p } of after) rows.set(id, { id, token, before: rows.get(id)?.before ?? null, after: p });
  const weight = (row: ChangeRow): number => Math.max(row.before ?? 0, row.after ?? 0);
  return [...rows.values()].sort((a, b) => weight(b) - weight(a)).slice(0, most);
}

export interface Runs {
  readonly before: string;
  readonly after: string;
  readonly beforeRun?: "clean" | "corrupted";
}

/** @param runs what each column shows: "clean run", "patched run: L3H4 off". */
export function beforeAfter(result: BeforeAfter, runs: Runs): HTMLElement {
  const rows = changeRows(result.clean, result.patched).map((row) => (row.token === result.token ? { ...row, before: result.clean_p, after: result.patched_p } : row));
  return el("div", { class: "lab-before-after" }, headline(result, runs), changeTable(rows, runs, result.token), klMeter(result.kl_nats));
}

function headline(result: BeforeAfter, runs: Runs): HTMLElement {
  const change = result.patched_p - result.clean_p;
  const way = directionOf(change);
  return el(
    "div",
    { class: "lab-headline", "data-way": way },
    el("p", { class: "lab-headline-of" }, "Probability of ", el("code", { class: "lab-token" }, visible(result.token))),
    el(
      "p",
      { class: "lab-headline-numbers" },
      el("span", { class: "lab-big", title: runs.before }, percent(result.clean_p)),
      el("span", { class: "lab-arrow", "aria-hidden": "true" }, "→"),
      el("span", { class: "lab-hidden" }, " then "),
      el("span", { class: "lab-big", title: runs.after }, percent(result.patched_p)),
      el("span", { class: "lab-change" }, `${ARROWS[way]} ${WENT[way]}${way === "same" ? "" : `, ${points(change)}`}`),
    ),
    el("p", { class: "lab-soft" }, `Its logit: ${plain(result.clean_logit)} → ${plain(result.patched_logit)}.`),
  );
}

export function changeTable(rows: readonly ChangeRow[], runs: Runs, followed: string): HTMLElement {
  const head = el(
    "tr",
    {},
    el("th", { scope: "col" }, "Next token"),
    el("th", { scope: "col" }, runBadge(runs.beforeRun ?? "clean", runs.before)),
    el("th", { scope: "col" }, runBadge("patched", runs.after)),
    el("th", { scope: "col" }, "Change"),
  );
  const least = { before: leastOf(rows.map(({ before }) => before)), after: leastOf(rows.map(({ after }) => after)) };
  const body = rows.map((row) => {
    const token = el("th", { scope: "row" }, el("code", { class: "lab-token" }, visible(row.token)));
    return el("tr", row.token === followed ? { "data-followed": true } : {}, token, barCell(row.before, "before", least.before), barCell(row.after, "after", least.after), changeCell(row));
  });
  const caption = el("caption", { class: "lab-hidden" }, `Likeliest next tokens: ${runs.before}, and ${runs.after}`);
  return el("table", { class: "lab-changes" }, caption, el("thead", {}, head), el("tbody", {}, ...body));
}

/** What a run does not name is below the least that it names. */
export function leastOf(listed: readonly (number | null)[]): number {
  return Math.min(1, ...listed.flatMap((p) => (p === null ? [] : [p])));
}

export function barCell(p: number | null, side: "before" | "after" | "clean", least: number): HTMLElement {
  if (p === null) return el("td", { class: "lab-bar-cell" }, el("span", { class: "lab-number lab-soft" }, percent(least).startsWith("<") ? percent(least) : `below ${percent(least)}`));
  const bar = el("span", { class: "lab-cell-bar", "data-side": side, "aria-hidden": "true" });
  bar.style.setProperty("--p", String(Math.min(1, Math.max(0, p))));
  return el("td", { class: "lab-bar-cell" }, bar, el("span", { class: "lab-number" }, percent(p)));
}

function changeCell({ before, after }: ChangeRow): HTMLElement {
  if (before === null) return el("td", { class: "lab-delta", "data-way": "up" }, "▲ rose");
  if (after === null) return el("td", { class: "lab-delta", "data-way": "down" }, "▼ fell");
  const way = directionOf(after - before);
  return el("td", { class: "lab-delta", "data-way": way }, way === "same" ? "= same" : `${ARROWS[way]} ${points(after - before)}`);
}

/** How far the whole prediction moved, as a number, a word and a bar whose scale is logarithmic. */
function klMeter(kl_nats: number): HTMLElement {
  const bar = el("span", { class: "lab-kl-bar", "aria-hidden": "true" });
  bar.style.setProperty("--p", String(klShare(kl_nats)));
  const words = `The whole prediction moved ${klWord(kl_nats)}: ${nats(kl_nats)} of KL divergence.`;
  return el("p", { class: "lab-kl" }, bar, el("span", {}, words));
}

/** 0.001 nats and less is an empty bar, 10 nats and more a full one. */
export function klShare(kl_nats: number): number {
  return kl_nats <= 0 ? 0 : Math.min(1, Math.max(0, (Math.log10(kl_nats) + 3) / 4));
}

/** The effect beside those of controls: one line from 0 to 1, with the numbers as text. */
export function controlStrip(result: BeforeAfter, controls: readonly number[], what: string): HTMLElement {
  if (controls.length === 0) return el("p", { class: "lab-soft" }, "No controls were measured for this.");
  const dot = (p: number, kind: string, sign: string): HTMLElement => {
    const mark = el("span", { class: "lab-dot", "data-kind": kind }, sign);
    mark.style.setProperty("--p", String(Math.min(1, Math.max(0, p))));
    return mark;
  };
  const line = el("div", { class: "lab-ruler", "aria-hidden": "true" }, ...controls.map((p) => dot(p, "control", "×")), dot(result.clean_p, "clean", "○"), dot(result.patched_p, "patched", "◆"));
  const lowest = Math.min(...controls);
  const highest = Math.max(...controls);
  const range = controls.length === 1 || percent(lowest) === percent(highest) ? percent(lowest) : `${percent(lowest)} to ${percent(highest)}`;
  const words = `${quoted(result.token)}: ○ ${percent(result.clean_p)} before, ◆ ${percent(result.patched_p)} after; × ${what}: ${range}.`;
  const scale = el("div", { class: "lab-ruler-scale", "aria-hidden": "true" }, el("span", {}, "0%"), el("span", {}, "50%"), el("span", {}, "100%"));
  return el("div", { class: "lab-controls" }, el("h5", {}, "Beside controls"), line, scale, el("p", {}, words));
}
