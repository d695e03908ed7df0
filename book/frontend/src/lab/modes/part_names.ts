// Owns the names of a model's parts: reading, listing and ordering them. What is no part of this model is a sentence.

import type { ModelFacts, Part } from "../contract";

/** "stream": what the residual stream carries before a layer; it can be patched, not turned off. */
export type PartKind = "head" | "mlp" | "attn" | "layer" | "stream";

export type Named =
  | { readonly kind: "head"; readonly layer: number; readonly head: number }
  | { readonly kind: Exclude<PartKind, "head">; readonly layer: number };

export function headName(layer: number, head: number): Part {
  return `L${layer}H${head}`;
}

export function nameOf(named: Named): Part {
  if (named.kind === "head") return headName(named.layer, named.head);
  if (named.kind === "layer") return `L${named.layer}`;
  return `L${named.layer}.${named.kind === "stream" ? "resid_pre" : named.kind}`;
}

/** What a name says, or null where it says nothing; whether a model has it is another question. */
export function readPart(text: string): Named | null {
  const [, layer, head, block] = /^\s*L(\d{1,4})(?:H(\d{1,4})|\.(mlp|attn|resid_pre))?\s*$/i.exec(text) ?? [];
  if (layer === undefined) return null;
  if (head !== undefined) return { kind: "head", layer: Number(layer), head: Number(head) };
  const blocks: Readonly<Record<string, Exclude<PartKind, "head">>> = { mlp: "mlp", attn: "attn", resid_pre: "stream" };
  return { kind: blocks[block?.toLowerCase() ?? ""] ?? "layer", layer: Number(layer) };
}

/** One sentence where the model has no such part, else null. */
export function lackOf(part: Part, facts: Pick<ModelFacts, "name" | "n_layers" | "n_heads" | "d_mlp">): string | null {
  const named = readPart(part);
  if (!named) return `“${part}” names no part: write a head as L3H4, an MLP as L3.mlp, a layer as L3.`;
  if (named.layer >= facts.n_layers) return `${facts.name} has no layer ${named.layer}: its layers are 0 to ${facts.n_layers - 1}.`;
  if (named.kind === "head" && named.head >= facts.n_heads) {
    return `${facts.name} has no head ${named.head} in layer ${named.layer}: its heads are 0 to ${facts.n_heads - 1}.`;
  }
  return named.kind === "mlp" && facts.d_mlp === 0 ? `${facts.name} has no MLPs: its layers are attention only.` : null;
}

/** What can be turned off. */
export function kindsOf(facts: Pick<ModelFacts, "d_mlp">): readonly PartKind[] {
  return facts.d_mlp > 0 ? ["head", "mlp", "attn", "layer"] : ["head", "attn", "layer"];
}

/** A chosen part goes, an unchosen one comes; always in the model's order, so that one choice is one question. */
export function toggled(parts: readonly Part[], part: Part): readonly Part[] {
  const rest = parts.filter((each) => each !== part);
  return rest.length < parts.length ? rest : [...parts, part].sort(inOrder);
}

function inOrder(a: Part, b: Part): number {
  const [left, right] = [orderOf(a), orderOf(b)];
  return left[0] - right[0] || left[1] - right[1] || left[2] - right[2];
}

const BLOCKS: Readonly<Record<PartKind, number>> = { stream: 0, layer: 1, attn: 2, head: 3, mlp: 4 };

function orderOf(part: Part): readonly [number, number, number] {
  const named = readPart(part);
  if (!named) return [Infinity, 0, 0];
  return [named.layer, BLOCKS[named.kind], named.kind === "head" ? named.head : 0];
}
