// Owns the view of one attention head: where it looks, what it moves, and what that does to the logits.

import { el } from "../../dom";
import type { HeadAnswer } from "../contract";
import { effectBars } from "../drawing/effect_bars";
import { heatMap } from "../drawing/heat_map";
import { percent, plain, signed, visible } from "../drawing/words";
import { parsePart } from "../pipeline/layout";
import { box, said, vectorStrip, viewHead, type ViewPlace } from "./view_parts";

export function headView(answer: HeadAnswer, place: ViewPlace): HTMLElement {
  const { lab, tokens } = place;
  const { position } = answer;
  const read = answer.pattern[position] ?? [];
  const most = read.indexOf(Math.max(...read));
  const token = (at: number): string => visible(tokens[at]?.text ?? "");
  const head = viewHead(`Head ${answer.part}`, position, tokens, () => lab.select({ parts: [] }));
  const key = answer.vectors.k[most];
  const value = answer.vectors.v[most];
  const vectors = box("On its way",
    vectorStrip("q", answer.vectors.q, `what ${token(position)} looks for`),
    ...(key ? [vectorStrip("k", key, `what ${token(most)} offers`)] : []),
    ...(value ? [vectorStrip("v", value, `what ${token(most)} hands over`)] : []),
    vectorStrip("z", answer.vectors.z, "values, weighted by the pattern"),
    vectorStrip("write", answer.vectors.write, `goes into the stream: ${percent(answer.relative_size)} of its length`));
  const effects = box("Direct effect on the logits",
    el("p", { class: "lab-fine" }, "On the answer ", el("code", { class: "lab-token" }, visible(answer.answer)), `: ${signed(answer.answer_effect)}. Most for and most against:`),
    effectBars(answer.effects, `Direct effect of ${answer.part} on the logits`));
  return el("div", { class: "lab-view" }, head, said(answer), el("div", { class: "lab-view-columns" }, patternBox(answer, place), reads(answer, place), vectors, effects), code(answer, lab.asked()));
}

/** Pattern or scores, over all positions; a click looks at the head from another position. */
function patternBox(answer: HeadAnswer, { lab, tokens, signal }: ViewPlace): HTMLElement {
  const names = tokens.map((token, position) => `${position} ${visible(token.text)}`);
  const place = el("div", {});
  const draw = (kind: "pattern" | "scores"): void => {
    const isPattern = kind === "pattern";
    const map = heatMap({
      title: isPattern ? `Pattern of ${answer.part}: each row sums to 1` : `Scores of ${answer.part} before the softmax`,
      summary: isPattern ? "Rows look at columns; what lies to the right of the diagonal is masked, since it comes later." : "Positions that come later are masked: minus infinity.",
      rowTitle: "from", columnTitle: "looks at", rows: names, columns: names, values: answer[kind],
      scale: isPattern ? "sequential" : "diverging",
      ...(isPattern ? { most: 1 } : {}),
      write: isPattern ? percent : (value) => plain(value, 1),
      onPick: (row) => lab.select({ position: row }),
    }, signal);
    map.choose({ row: answer.position, column: (answer.pattern[answer.position]?.length ?? 1) - 1 });
    place.replaceChildren(map.element);
  };
  const choice = (kind: "pattern" | "scores", words: string, isFirst: boolean): HTMLElement => {
    const input = el("input", { type: "radio", name: `lab-map-${answer.part}`, checked: isFirst });
    input.addEventListener("change", () => draw(kind), { signal });
    return el("label", { class: "lab-choice" }, input, words);
  };
  draw("pattern");
  const choices = el("div", { class: "lab-choices", role: "radiogroup", "aria-label": "What to show" }, choice("pattern", "Pattern", true), choice("scores", "Scores", false));
  return box(lab.term("attention pattern", "Where it looks"), choices, place);
}

/** What the chosen position reads, strongest first. */
function reads(answer: HeadAnswer, { tokens }: ViewPlace): HTMLElement {
  const row = (answer.pattern[answer.position] ?? []).map((weight, at) => ({ weight, at }));
  const best = row.sort((a, b) => b.weight - a.weight).slice(0, 6);
  const list = el("ol", { class: "lab-guesses", "aria-label": "Positions that are read" });
  for (const { weight, at } of best) {
    const bar = el("span", { class: "lab-bar", "aria-hidden": "true" });
    bar.style.setProperty("--p", String(weight));
    list.append(el("li", {}, el("code", { class: "lab-token" }, `${at} ${visible(tokens[at]?.text ?? "")}`), bar, el("span", { class: "lab-number" }, percent(weight))));
  }
  return box(`Read at position ${answer.position}`, list);
}

/** The way on: bertviz' views of this head, and the numbers, in a cell. */
function code(answer: HeadAnswer, { model, prompt }: { readonly model: string; readonly prompt: string }): HTMLElement {
  const parsed = parsePart(answer.part);
  const lines = [
    `model = tlab.load(${JSON.stringify(model)})`,
    `seen = tlab.attention(model, ${JSON.stringify(prompt)}, layer=${parsed?.layer ?? 0}, head=${parsed?.head ?? 0})`,
    "seen.head_view()  # bertviz; so are seen.model_view() and seen.neuron_view()",
  ];
  return el("details", { class: "lab-twin" }, el("summary", {}, "This head in a cell, with bertviz' views"), el("pre", { class: "lab-code" }, ["import tlab", ...lines].join("\n")));
}
