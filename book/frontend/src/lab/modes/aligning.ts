// Owns how two prompts' tokens stand beside each other: equal ones together, the rest as replaced, added or left out.

import { counted } from "./sentences";

export type Aligned =
  | { readonly kind: "same" | "changed"; readonly left: number; readonly right: number }
  | { readonly kind: "left"; readonly left: number }
  | { readonly kind: "right"; readonly right: number };

/** Longest common subsequence; between two shared tokens the others are paired in order. */
export function align(left: readonly string[], right: readonly string[]): readonly Aligned[] {
  const rows: Aligned[] = [];
  let [from, to] = [0, 0];
  for (const [i, j] of [...shared(left, right), [left.length, right.length] as const]) {
    while (from < i || to < j) {
      if (from < i && to < j) rows.push({ kind: "changed", left: from++, right: to++ });
      else if (from < i) rows.push({ kind: "left", left: from++ });
      else rows.push({ kind: "right", right: to++ });
    }
    if (i < left.length) rows.push({ kind: "same", left: from++, right: to++ });
  }
  return rows;
}

function shared(left: readonly string[], right: readonly string[]): readonly (readonly [number, number])[] {
  const width = right.length + 1;
  const length = new Uint16Array((left.length + 1) * width);
  const at = (i: number, j: number): number => length[i * width + j] ?? 0;
  for (let i = left.length - 1; i >= 0; i--) {
    for (let j = right.length - 1; j >= 0; j--) {
      length[i * width + j] = left[i] === right[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const pairs: [number, number][] = [];
  for (let [i, j] = [0, 0]; i < left.length && j < right.length; ) {
    if (left[i] === right[j]) pairs.push([i++, j++]);
    else if (at(i + 1, j) >= at(i, j + 1)) i++;
    else j++;
  }
  return pairs;
}

/** Whether position by position comparison means something: as many tokens on both sides. */
export function isEvenly(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length;
}

/** What the alignment says in one sentence, with the way out where a patch by position needs equal lengths. */
export function alignmentText(left: readonly string[], right: readonly string[]): string {
  if (!isEvenly(left, right)) {
    return `The clean prompt has ${counted(left.length, "token")} and the corrupted one ${right.length}: change a word until both have as many, so that each position has its counterpart.`;
  }
  const changed = left.filter((token, index) => token !== right[index]).length;
  if (changed === 0) return "Both prompts are the same: change a word in the corrupted one, so that there is something to patch.";
  return `Both have ${left.length} tokens; they differ in ${changed === 1 ? "one place" : `${changed} places`}.`;
}
