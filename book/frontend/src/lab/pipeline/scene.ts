// Owns what the pipeline shows at a moment: the run, what was chosen, what a mode marked. Pure.

import type { Changed, Marks } from "../app_contract";
import type { FlowAnswer, OpenAnswer, Part } from "../contract";
import { visible } from "../drawing/words";
import type { Target } from "./layout";

export interface Scene {
  readonly run: OpenAnswer;
  readonly position: number;
  readonly parts: readonly Part[];
  readonly marks: Marks;
  readonly changed: Changed | null;
  /** What flowed to the chosen position; null while it is not known. */
  readonly flow: FlowAnswer | null;
  readonly cursor: Target | null;
  /** From 0 to 1: how far from the left the picture has unfolded. */
  readonly unfolded: number;
}

/** What the pipeline says before a mode says something else. */
export function quietMarks(run: OpenAnswer): Marks {
  const { direct } = run;
  if (!direct) return { legend: "This model's logits are no sum of its parts, so no part has a colour", scale: "diverging", most: 1, unit: "logits" };
  const answer = run.next.at(-1)?.[0];
  return {
    legend: `Direct contribution to the logit of the answer${answer ? ` ${visible(answer.token)}` : ""}`,
    scale: "diverging",
    most: strongest([...direct.head.flat(), ...direct.mlp]),
    heads: direct.head,
    attn: direct.head.map((line) => line.reduce((sum, value) => sum + value, 0)),
    mlp: direct.mlp,
    unit: "logits",
  };
}

/** The heads that write most directly for or against the last position's answer. */
export function strongestHeads(run: OpenAnswer, count: number): { readonly part: Part; readonly value: number }[] {
  const all = (run.direct?.head ?? []).flatMap((line, layer) => line.map((value, head) => ({ part: `L${layer}H${head}`, value })));
  return all.sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, count);
}

/** Not the largest of all, which would leave the others pale: the 98th of a hundred. */
function strongest(values: readonly number[]): number {
  const sizes = values.map(Math.abs).sort((a, b) => a - b);
  return sizes[Math.min(sizes.length - 1, Math.floor(sizes.length * 0.98))] || 1;
}

/** The weights of what flowed to the chosen position in a layer, the strongest first; faint ones left out. */
export function linesOf(flow: FlowAnswer, layer: number, least: number): { from: number; weight: number; head: number }[] {
  const weights = flow.weight[layer] ?? [];
  return weights
    .map((weight, from) => ({ from, weight, head: flow.head[layer]?.[from] ?? -1 }))
    .filter(({ weight, from }) => weight >= least && from !== flow.position)
    .sort((a, b) => b.weight - a.weight);
}

/** The positions from which most flowed, over all layers. */
export function strongestSources(flow: FlowAnswer | null, count: number): number[] {
  if (!flow) return [];
  const sums = new Map<number, number>();
  for (const line of flow.weight) line.forEach((weight, from) => sums.set(from, (sums.get(from) ?? 0) + weight));
  return [...sums].sort((a, b) => b[1] - a[1]).slice(0, count).map(([from]) => from);
}
