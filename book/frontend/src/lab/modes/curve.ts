// Owns the curve of a followed token through the layers: its rank on a logarithmic scale and its probability, as a picture and a table.

import { el } from "../../dom";
import { percent } from "../drawing/words";
import { streamLabels } from "./maps";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 640;
const HEIGHT = 200;
const EDGE = { left: 52, right: 14, top: 12, bottom: 30 };

export function svg<K extends keyof SVGElementTagNameMap>(tag: K, attributes: Readonly<Record<string, string | number>>, ...children: readonly (Node | string)[]): SVGElementTagNameMap[K] {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** 1, 10, 100, … up to the largest rank: rank 1 stands at the top. */
export function decades(ranks: readonly number[]): readonly number[] {
  const most = Math.max(1, ...ranks);
  const count = Math.ceil(Math.log10(most) - 1e-9) + 1;
  return Array.from({ length: Math.max(2, count) }, (_, power) => 10 ** power);
}

export function rankCurve(ranks: readonly number[], p: readonly number[], token: string): HTMLElement {
  const ticks = decades(ranks);
  const bottom = Math.log10(ticks.at(-1) ?? 10);
  const x = (at: number): number => EDGE.left + (at * (WIDTH - EDGE.left - EDGE.right)) / Math.max(1, ranks.length - 1);
  const y = (rank: number): number => EDGE.top + (Math.log10(Math.max(1, rank)) / bottom) * (HEIGHT - EDGE.top - EDGE.bottom);
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "lab-curve", role: "img", "aria-label": `Rank of ${token} after each layer, best at the top` });
  for (const tick of ticks) {
    picture.append(svg("line", { x1: EDGE.left, x2: WIDTH - EDGE.right, y1: y(tick), y2: y(tick), class: "lab-curve-grid" }));
    picture.append(svg("text", { x: EDGE.left - 6, y: y(tick) + 4, class: "lab-curve-label", "text-anchor": "end" }, tick === 1 ? "first" : tick.toLocaleString("en-GB")));
  }
  const labels = streamLabels(ranks.length);
  const every = Math.ceil(ranks.length / 8);
  labels.forEach((label, at) => at % every === 0 && picture.append(svg("text", { x: x(at), y: HEIGHT - 10, class: "lab-curve-label", "text-anchor": "middle" }, label)));
  picture.append(svg("polyline", { points: ranks.map((rank, at) => `${x(at)},${y(rank)}`).join(" "), class: "lab-curve-line" }));
  ranks.forEach((rank, at) => picture.append(svg("circle", { cx: x(at), cy: y(rank), r: rank === 1 ? 4.5 : 2.5, class: rank === 1 ? "lab-curve-first" : "lab-curve-dot" }, svg("title", {}, `after ${labels[at] ?? at}: rank ${rank}, ${percent(p[at] ?? NaN)}`))));
  return el("figure", { class: "lab-curve-figure", "data-tour": "curve" }, el("figcaption", {}, `Rank of ${token} after each layer; filled where it is first`), picture, curveTable(labels, ranks, p));
}

function curveTable(labels: readonly string[], ranks: readonly number[], p: readonly number[]): HTMLElement {
  const head = el("tr", {}, ...["after", "rank", "probability"].map((words) => el("th", { scope: "col" }, words)));
  const rows = ranks.map((rank, at) => el("tr", {}, el("th", { scope: "row" }, labels[at] ?? String(at)), el("td", {}, rank.toLocaleString("en-GB")), el("td", {}, percent(p[at] ?? NaN))));
  return el("details", { class: "lab-twin" }, el("summary", {}, "As a table"), el("div", { class: "lab-twin-scroll", tabindex: "0", role: "region", "aria-label": "Ranks as a table" }, el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows))));
}
