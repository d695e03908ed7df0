// Owns the pipeline in words: one sentence for the whole, one for each thing pointed at. Pure.

import { percent, signed, visible } from "../drawing/words";
import { partOf, type Target } from "./layout";
import { linesOf, strongestHeads, type Scene } from "./scene";

/** What the picture says, in one or two sentences. */
export function summaryOf({ run, position }: Scene): string {
  const answer = run.next[position]?.[0];
  if (!answer) return "";
  const { token, p } = answer;
  const last = run.lens.token.length - 1;
  let since = last;
  while (since > 0 && run.lens.token[since - 1]?.[position] === token) since -= 1;
  const when = since === 0 ? "already the embedding reads as this token" : `the lens reads ${visible(token)} from block ${since - 1} on`;
  const says = run.lens.token[last]?.[position] === token ? `; ${when}` : "";
  return `After ${visible(run.tokens[position]?.text ?? "")} the model expects ${visible(token)} with ${percent(p)}${says}.${strongestSentence(run)}`;
}

function strongestSentence(run: Scene["run"]): string {
  const best = strongestHeads(run, 2);
  if (best.length < 2) return "";
  const names = best.map(({ part, value }) => `${part} (${signed(value)})`);
  return ` The heads that write most directly for or against the last position's answer are ${names.join(" and ")}.`;
}

/** What is pointed at, what it says, and what a click does. */
export function wordsOf(scene: Scene, target: Target): string {
  const { run, position, marks } = scene;
  const mark = (value: number | null | undefined): string => (value === null || value === undefined ? "" : `: ${signed(value)} ${marks.unit}`);
  const share = (value: number | undefined): string => (value === undefined ? "" : `, writes ${percent(value)} of the stream's length`);
  const changed = scene.changed?.parts.includes(partOf(target) ?? "") ? `, ${scene.changed.word}` : "";
  switch (target.kind) {
    case "layer":
      return `Block ${target.layer}${changed}`;
    case "head":
      return `Head L${target.layer}H${target.head}${mark(marks.heads?.[target.layer]?.[target.head])}${changed}`;
    case "mlp":
      return `MLP of block ${target.layer}${mark(marks.mlp?.[target.layer])}${share(run.mlp[target.layer]?.[position])}${changed}`;
    case "attn":
      return `Attention of block ${target.layer}, all heads together${mark(marks.attn?.[target.layer])}${share(run.attn[target.layer]?.[position])}${changed}`;
    case "stream":
      return streamWords(scene, target.layer, target.position);
    case "lens":
      return `${placeName(target.layer)}, position ${position}: the lens reads ${lensAt(scene, target.layer, position)}`;
    case "token":
      return `Token ${target.position}, ${visible(run.tokens[target.position]?.text ?? "")}`;
  }
}

function streamWords(scene: Scene, layer: number, position: number): string {
  const { run, flow } = scene;
  const length = run.stream[layer]?.[position];
  const flowed = layer > 0 && flow ? flow.weight[layer - 1]?.[position] : undefined;
  const share = flow && flowed !== undefined && position <= flow.position ? `; what attention brings from here to ${visible(run.tokens[flow.position]?.text ?? "")} is ${percent(flowed)} as long as all that it writes` : "";
  return `Stream ${placeName(layer).toLowerCase()} at ${visible(run.tokens[position]?.text ?? "")}${length === undefined ? "" : `, length ${length.toFixed(1)}`}; the lens reads ${lensAt(scene, layer, position)}${share}`;
}

export function placeName(layer: number): string {
  return layer === 0 ? "After the embedding" : `After block ${layer - 1}`;
}

function lensAt({ run }: Scene, layer: number, position: number): string {
  return `${visible(run.lens.token[layer]?.[position] ?? "")} (${percent(run.lens.p[layer]?.[position] ?? 0)})`;
}

/** The table twin: one row for each reading. */
export function tableOf(scene: Scene): { readonly head: readonly string[]; readonly rows: readonly (readonly string[])[] } {
  const { run, position, flow } = scene;
  const head = ["Place", "Lens reads", "Its probability", "The answer's", "Stream's length", "Attention writes", "MLP writes", "Strongest head", "Most flowed from"];
  const rows = run.lens.token.map((_, reading) => {
    const layer = reading - 1;
    const best = (run.direct?.head[layer] ?? []).map((value, index) => ({ value, index })).sort((a, b) => Math.abs(b.value) - Math.abs(a.value))[0];
    const line = flow && layer >= 0 ? linesOf(flow, layer, 0)[0] : undefined;
    return [
      placeName(reading),
      visible(run.lens.token[reading]?.[position] ?? ""),
      percent(run.lens.p[reading]?.[position] ?? 0),
      percent(run.lens.answer[reading]?.[position] ?? 0),
      (run.stream[reading]?.[position] ?? 0).toFixed(1),
      layer < 0 ? "" : percent(run.attn[layer]?.[position] ?? 0),
      layer < 0 ? "" : percent(run.mlp[layer]?.[position] ?? 0),
      best ? `L${layer}H${best.index} ${signed(best.value)}` : "",
      line ? `${line.from} ${visible(run.tokens[line.from]?.text ?? "")} ${percent(line.weight)}` : "",
    ];
  });
  return { head, rows };
}
