// Owns the view of the residual stream at a point, or of what a whole part writes: its length on the way, and what it reads as.

import { el } from "../../dom";
import type { StreamAnswer } from "../contract";
import { effectBars } from "../drawing/effect_bars";
import { plain } from "../drawing/words";
import { parsePart } from "../pipeline/layout";
import { box, said, viewHead, type ViewPlace } from "./view_parts";

export function streamView(answer: StreamAnswer, { lab, tokens }: ViewPlace): HTMLElement {
  const parsed = parsePart(answer.part);
  const isWrite = answer.reading === "direct";
  const head = viewHead(titleOf(answer.part, isWrite), answer.position, tokens, () => lab.select({ parts: [] }));
  const at = parsed?.kind === "embed" ? 0 : (parsed?.layer ?? 0) + 1;
  const lengths = lab.store.now.baseline?.answer.stream.map((line) => line[answer.position] ?? 0) ?? [];
  const reading = isWrite
    ? box(lab.term("direct logit attribution", "Which logits this write raises and lowers"), effectBars(answer.effects, "Direct effects on the logits"))
    : box(lab.term("logit lens", "Read by the lens, as if it were the last stream"), effectBars(nearest(answer), "Logits of the nearest tokens"));
  return el("div", { class: "lab-view" }, head, said(answer), el("div", { class: "lab-view-columns" }, norms(lengths, at, answer.position), reading));
}

function titleOf(part: string, isWrite: boolean): string {
  const parsed = parsePart(part);
  if (parsed?.kind === "embed") return "The stream after the embedding";
  if (parsed?.kind === "attn") return `Attention of block ${parsed.layer}`;
  return isWrite ? `What ${part} writes` : `The stream after block ${parsed?.layer ?? ""}`;
}

/** A lens names what is nearest; what is farthest says nothing. */
function nearest({ effects }: StreamAnswer): StreamAnswer["effects"] {
  return [...effects].sort((a, b) => b.effect - a.effect).slice(0, 10);
}

/** The stream's length at this position, from the embedding to the end; the point itself stands out. */
function norms(lengths: readonly number[], at: number, position: number): HTMLElement {
  const most = Math.max(...lengths, 1e-9);
  const bars = lengths.map((length, index) => {
    const bar = el("span", index === at ? { "data-here": true } : {});
    bar.style.setProperty("--p", String(length / most));
    return bar;
  });
  const words = `The stream's length at position ${position}: ${plain(lengths[0] ?? 0, 1)} after the embedding, ${plain(lengths[at] ?? 0, 1)} here, ${plain(lengths.at(-1) ?? 0, 1)} at the end.`;
  return box("Its length on the way", el("div", { class: "lab-norms", role: "img", "aria-label": words }, ...bars), el("p", { class: "lab-fine" }, words));
}
