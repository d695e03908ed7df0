// Owns the shapes of all answers, as contract.ts states them. Pure.

import type { Ask, OpenAnswer } from "../contract";
import { also, isObject, list, named, number, oneOf, orNull, pair, record, text, yesOrNo, type Shape } from "./shapes";

const rows = (shape: Shape): Shape => list(list(shape));
const said = { explain: text, caveats: list(text) };
const guess = record({ token: text, id: number, p: number });
const identity = record({ name: text, error: number, bound: number, holds: yesOrNo });
const effect = record({ token: text, effect: number });
const vector = record({ norm: number, first: list(number) });

const beforeAfter = {
  token: text, clean: list(guess), patched: list(guess), clean_p: number, patched_p: number,
  clean_logit: number, patched_logit: number, kl_nats: number,
};

const FACTS = record({ name: text, n_layers: number, n_heads: number, d_model: number, d_head: number, d_mlp: number, d_vocab: number, max_tokens: number });

const OPEN = also(
  record({
    ...said,
    facts: FACTS,
    tokens: list(record({ text, id: number })),
    next: rows(guess),
    stream: rows(number),
    attn: rows(number),
    mlp: rows(number),
    lens: record({ token: rows(text), p: rows(number), answer: rows(number) }),
    direct: orNull(record({ head: rows(number), mlp: list(number) })),
  }),
  ofOneSize,
);

/** Every list is as long as layers and positions say, so that no picture looks beside them. */
function ofOneSize(answer: OpenAnswer): string | null {
  const { n_layers, n_heads } = answer.facts;
  const n = answer.tokens.length;
  if (n === 0 || n_layers < 1) return "expected at least one token and one layer, got none";
  const sizes: readonly [string, readonly (readonly unknown[])[], number, number][] = [
    ["stream", answer.stream, n_layers + 1, n], ["attn", answer.attn, n_layers, n], ["mlp", answer.mlp, n_layers, n],
    ["lens.token", read(answer.lens.token, n), n_layers + 1, n], ["lens.p", read(answer.lens.p, n), n_layers + 1, n], ["lens.answer", read(answer.lens.answer, n), n_layers + 1, n],
    ["direct.head", answer.direct?.head ?? blank(n_layers, n_heads), n_layers, n_heads],
  ];
  for (const [name, lines, height, width] of sizes) {
    if (lines.length !== height || lines.some((line) => line.length !== width)) return `${name}: expected ${height} × ${width} values, got others`;
  }
  if (answer.next.length !== n || answer.next.some((guesses) => guesses.length === 0)) return "next: expected guesses at each position, got fewer";
  const n_mlp = answer.direct?.mlp.length ?? n_layers;
  return n_mlp === n_layers ? null : `direct.mlp: expected ${n_layers} values, got ${n_mlp}`;
}

/** The row of a layer that is not read yet is empty. */
function read(lines: readonly (readonly unknown[])[], width: number): readonly (readonly unknown[])[] {
  return lines.map((line) => (line.length === 0 ? new Array(width).fill(null) : line));
}

function blank(height: number, width: number): readonly (readonly unknown[])[] {
  return new Array(height).fill(new Array(width).fill(0));
}

const aboutPart = { ...said, part: text, position: number };
const HEAD = record({
  ...aboutPart, scores: rows(orNull(number)), pattern: rows(number),
  vectors: record({ q: vector, z: vector, write: vector, k: list(vector), v: list(vector) }),
  relative_size: number, effects: list(effect), answer: text, answer_effect: number, identities: list(identity),
});
const MLP = record({
  ...aboutPart, n_effective: number, answer: text, identities: list(identity),
  neurons: list(record({ neuron: number, activation: number, length: number, answer_effect: number, promoted: list(text), suppressed: list(text) })),
});
const STREAM = record({ ...aboutPart, reading: text, norms: list(number), effects: list(effect) });

const PART: Shape = (value, path) => {
  const kind = isObject(value) ? value["kind"] : undefined;
  if (kind === "head") return HEAD(value, path);
  if (kind === "mlp") return MLP(value, path);
  return kind === "stream" ? STREAM(value, path) : `${path}.kind: expected head, mlp or stream, got ${JSON.stringify(kind) ?? "nothing"}`;
};

export const SHAPES: Readonly<Record<Ask, Shape>> = {
  open: OPEN,
  flow: record({ ...said, position: number, weight: rows(number), head: rows(number) }),
  part: PART,
  lens: record({ ...said, kind: oneOf("logit", "tuned"), followed: text, token: rows(text), p: rows(number), followed_p: list(number), followed_rank: list(number) }),
  heads: record({ ...said, scores: named(rows(number)) }),
  ablate: record({ ...said, ...beforeAfter, parts: list(text), method: text, next: list(guess), controls: list(number) }),
  head_map: record({ ...said, token: text, effect: rows(orNull(number)) }),
  patch: record({ ...said, ...beforeAfter, recovered: orNull(number), controls: list(orNull(number)), corrupted: list(guess), against: text }),
  patch_map: record({ ...said, over: text, tokens: list(text), corrupted_tokens: list(text), answer: text, against: text, recovered: rows(orNull(number)) }),
  steer: record({
    ...said, ...beforeAfter, layer: number, coef: number, push_norm: number, stream_norm: number, clean_text: text, steered_text: text,
    clean_loss_nats: orNull(number), steered_loss_nats: orNull(number), random_kl_nats: list(number),
  }),
  compare: record({ ...said, a: OPEN, b: OPEN, pairs: list(pair(number)), stream: rows(number), pattern: rows(number), kl_nats: number }),
  code: record({ ...said, dialect: text, code: text, manifest: text }),
  identities: record({ ...said, identities: list(identity) }),
};
