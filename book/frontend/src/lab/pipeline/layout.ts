// Owns where everything in the pipeline stands: blocks from left to right, bands from top to bottom. Pure.

import type { Part } from "../contract";

export interface Sizes {
  readonly layers: number;
  readonly heads: number;
  readonly tokens: number;
  /** Letters of the longest token, as it is written. */
  readonly longestToken: number;
}

export interface Band {
  readonly top: number;
  readonly height: number;
}

export interface Plan extends Sizes {
  /** What stays in place at the left: names of bands and tokens. */
  readonly gutter: number;
  /** Width of one block; everything before and after the blocks keeps its own. */
  readonly block: number;
  readonly embedLeft: number;
  readonly blocksLeft: number;
  readonly normLeft: number;
  readonly width: number;
  readonly height: number;
  readonly headHeight: number;
  readonly row: number;
  readonly bands: Readonly<Record<"layers" | "heads" | "attn" | "mlp" | "writes" | "stream" | "bars" | "words", Band>>;
}

/** Something in the picture; `layer` of stream and lens counts what has been read before: 0 is the embedding alone. */
export type Target =
  | { readonly kind: "layer"; readonly layer: number }
  | { readonly kind: "head"; readonly layer: number; readonly head: number }
  | { readonly kind: "mlp"; readonly layer: number }
  | { readonly kind: "attn"; readonly layer: number }
  | { readonly kind: "stream"; readonly layer: number; readonly position: number }
  | { readonly kind: "lens"; readonly layer: number }
  | { readonly kind: "token"; readonly position: number };

const LETTER = 7.3;
export const EMBED = 46;
export const END = 46;
/** A finger needs more than a pointer. */
const NARROWEST = { phone: 24, else: 17 };
const PHONE = 500;
export const WIDEST = 150;
const GAP = 10;

/** The width of a block at which everything is in sight, but never so narrow that nothing can be read. */
export function fittingBlock(sizes: Sizes, room: number): number {
  const blocks = room - gutterOf(sizes, room) - EMBED - END;
  return Math.min(WIDEST, Math.max(room < PHONE ? NARROWEST.phone : NARROWEST.else, blocks / Math.max(1, sizes.layers)));
}

export function gutterOf({ longestToken }: Sizes, room: number): number {
  const most = room < PHONE ? 74 : 118;
  return Math.min(most, Math.max(room < PHONE ? 66 : 88, 18 + LETTER * longestToken));
}

export function planOf(sizes: Sizes, room: number, block: number): Plan {
  const gutter = gutterOf(sizes, room);
  const headHeight = sizes.heads > 16 ? Math.max(3, 150 / sizes.heads) : 12;
  const row = Math.max(1.2, Math.min(19, 320 / Math.max(1, sizes.tokens)));
  const heights = [
    ["layers", 20, 0], ["heads", headHeight * sizes.heads, 3], ["attn", 11, 4], ["mlp", 14, GAP], ["writes", 30, GAP + 2],
    ["stream", row * sizes.tokens, GAP + 4], ["bars", 46, 3], ["words", 50, 0],
  ] as const;
  let top = 2;
  const bands = {} as Record<keyof Plan["bands"], Band>;
  for (const [name, height, after] of heights) {
    bands[name] = { top, height };
    top += height + after;
  }
  const embedLeft = gutter;
  const blocksLeft = embedLeft + EMBED;
  const normLeft = blocksLeft + block * sizes.layers;
  return { ...sizes, gutter, block, embedLeft, blocksLeft, normLeft, width: normLeft + END, height: top, headHeight, row, bands };
}

/** Left edge of a block. */
export function blockLeft(plan: Plan, layer: number): number {
  return plan.blocksLeft + layer * plan.block;
}

/** Where the stream is read before block `layer`; `layers` is the point after the last. */
export function readingAt(plan: Plan, layer: number): number {
  return layer === 0 ? plan.embedLeft + EMBED / 2 : blockLeft(plan, layer) - plan.block * 0.06;
}

export function rowMiddle(plan: Plan, position: number): number {
  return plan.bands.stream.top + (position + 0.5) * plan.row;
}

/** What is at a point of the whole picture; `isPinned` for the gutter, which does not scroll. */
export function targetAt(plan: Plan, x: number, y: number, isPinned: boolean): Target | null {
  const { bands, layers } = plan;
  const within = ({ top, height }: Band): boolean => y >= top && y < top + height;
  const position = Math.min(plan.tokens - 1, Math.floor((y - bands.stream.top) / plan.row));
  if (isPinned) return within(bands.stream) ? { kind: "token", position } : null;
  const layer = Math.floor((x - plan.blocksLeft) / plan.block);
  const isInBlock = layer >= 0 && layer < layers;
  if (within(bands.stream)) return { kind: "stream", layer: Math.min(layers, Math.max(0, layer + 1)), position };
  if (within(bands.bars) || within(bands.words)) return { kind: "lens", layer: Math.min(layers, Math.max(0, layer + 1)) };
  if (!isInBlock) return null;
  if (within(bands.layers)) return { kind: "layer", layer };
  if (within(bands.heads)) return { kind: "head", layer, head: Math.floor((y - bands.heads.top) / plan.headHeight) };
  if (within(bands.attn)) return { kind: "attn", layer };
  if (within(bands.mlp)) return { kind: "mlp", layer };
  if (!within(bands.writes)) return null;
  return (x - plan.blocksLeft) / plan.block - layer < 0.5 ? { kind: "attn", layer } : { kind: "mlp", layer };
}

/** The part's name as tlab has it; the stream after a block is named by that block. */
export function partOf(target: Target): Part | null {
  switch (target.kind) {
    case "layer":
      return `L${target.layer}`;
    case "head":
      return `L${target.layer}H${target.head}`;
    case "mlp":
      return `L${target.layer}.mlp`;
    case "attn":
      return `L${target.layer}.attn`;
    case "stream":
    case "lens":
      return target.layer === 0 ? "embed" : `L${target.layer - 1}`;
    case "token":
      return null;
  }
}

export interface ParsedPart {
  readonly kind: "head" | "mlp" | "attn" | "layer" | "embed";
  readonly layer: number;
  readonly head: number;
}

export function parsePart(part: Part): ParsedPart | null {
  if (part === "embed") return { kind: "embed", layer: -1, head: -1 };
  const match = /^L(\d+)(?:H(\d+)|\.(mlp|attn|resid_pre|resid_mid|resid_post))?$/.exec(part);
  if (!match) return null;
  const [, layer, head, half] = match;
  const kind = head !== undefined ? "head" : half === "mlp" || half === "attn" ? half : "layer";
  return { kind, layer: Number(layer), head: head === undefined ? -1 : Number(head) };
}

/** Neighbouring readings of the same token, so that it is written once. */
export function runsOf(tokens: readonly string[]): { token: string; from: number; to: number }[] {
  const runs: { token: string; from: number; to: number }[] = [];
  tokens.forEach((token, at) => {
    const last = runs.at(-1);
    if (last && last.token === token) last.to = at;
    else runs.push({ token, from: at, to: at });
  });
  return runs;
}

/** Which rows are named, when there is no room for all: the wanted ones first, then every few. */
export function namedRows(plan: Plan, wanted: readonly number[]): number[] {
  const apart = Math.ceil(13 / plan.row);
  if (apart <= 1) return Array.from({ length: plan.tokens }, (_, position) => position);
  const named: number[] = [];
  const add = (position: number): void => {
    if (named.every((other) => Math.abs(other - position) >= apart)) named.push(position);
  };
  wanted.forEach(add);
  for (let position = 0; position < plan.tokens; position += 1) add(position);
  return named;
}
