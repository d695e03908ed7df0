// Owns how changes are said in words: sign, unit and a word for the size, so that no colour is needed. Pure.

import type { BeforeAfter, Part } from "../contract";
import { percent, signed, visible } from "../drawing/words";

/** A token as a sentence quotes it, its space shown: “␣Paris”. */
export function quoted(token: string): string {
  return `“${visible(token)}”`;
}

/** A change of probability in percentage points: "+12.3 points". */
export function points(change: number): string {
  return `${signed(100 * change, 1)} points`;
}

export function nats(value: number | null): string {
  return value !== null && Number.isFinite(value) ? `${value.toFixed(Math.abs(value) < 0.01 ? 4 : 3)} nats` : "–";
}

/** A smaller change of probability than this counts as none: half a percentage point. */
export const SAME_BELOW = 0.005;

export type Direction = "up" | "same" | "down";

export function directionOf(change: number): Direction {
  if (Math.abs(change) < SAME_BELOW) return "same";
  return change > 0 ? "up" : "down";
}

export const ARROWS: Readonly<Record<Direction, string>> = { up: "▲", same: "=", down: "▼" };
export const WENT: Readonly<Record<Direction, string>> = { up: "rose", same: "stayed", down: "fell" };

/** "fell from 77% to 12% (−65.0 points)". */
export function movedText(before: number, after: number): string {
  const way = directionOf(after - before);
  if (way === "same") return `stayed at ${percent(before)}`;
  return `${WENT[way]} from ${percent(before)} to ${percent(after)} (${points(after - before)})`;
}

/** How far a whole prediction moved, in words; the number stands beside it. */
export function klWord(kl_nats: number): string {
  if (kl_nats < 0.01) return "hardly";
  if (kl_nats < 0.1) return "a little";
  return kl_nats < 1 ? "clearly" : "very far";
}

/** Before and after in one sentence, for a screen reader. */
export function resultText(result: BeforeAfter): string {
  return `The probability of ${quoted(result.token)} ${movedText(result.clean_p, result.patched_p)}.`;
}

/** "L3H4" → "head 4 of layer 3". */
export function partWords(part: Part): string {
  const [, layer, head, block] = /^L(\d+)(?:H(\d+)|\.(mlp|attn|resid_pre))?$/.exec(part) ?? [];
  if (layer === undefined) return part === "embed" ? "the embedding" : part;
  if (head !== undefined) return `head ${head} of layer ${layer}`;
  if (block === "resid_pre") return `the stream before layer ${layer}`;
  if (block === "mlp") return `the MLP of layer ${layer}`;
  return block === "attn" ? `the whole attention of layer ${layer}` : `layer ${layer} whole`;
}

/** "a", "a and b", "a, b and 3 more". */
export function listed(names: readonly string[], most = 4): string {
  if (names.length <= 1) return names[0] ?? "nothing";
  if (names.length > most) return `${names.slice(0, most - 1).join(", ")} and ${names.length - most + 1} more`;
  return `${names.slice(0, -1).join(", ")} and ${names.at(-1) ?? ""}`;
}

/** 1 head, 2 heads. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
