// Owns the numbers and names that guides put into their sentences. Each is read from an answer, never typed.

import type { LabNow } from "./app_contract";
import type { Guess, Part } from "./contract";
import { percent, signed } from "./drawing/words";
import { headName } from "./modes/part_names";
import { directionOf, movedText, quoted, type Direction } from "./modes/sentences";
import { strongestCells, type Cell } from "./modes/strongest";
import { answerIn } from "./tour";

/** The model's likeliest next token. */
export function topGuess(now: LabNow): Guess | null {
  return now.baseline?.answer.next.at(-1)?.[0] ?? null;
}

export function topToken(now: LabNow): string {
  return quoted(topGuess(now)?.token ?? "");
}

export function topPercent(now: LabNow): string {
  return percent(topGuess(now)?.p ?? NaN);
}

/** The head that matters most, and the one that matters least, as the map of all heads measured them. */
export function strongestHead(now: LabNow): Cell | null {
  const map = answerIn(now, "head_map");
  return map && (strongestCells(map.effect.map((row) => row.map((value) => (value !== null && value < 0 ? value : null))), 1)[0] ?? null);
}

export function weakestHead(now: LabNow): Cell | null {
  const map = answerIn(now, "head_map");
  return map && (strongestCells(map.effect, Infinity).at(-1) ?? null);
}

export function cellName(cell: Cell | null): Part {
  return cell ? headName(cell.row, cell.column) : "";
}

/** "L23H4 (−4.06)". */
export function cellText(cell: Cell | null): string {
  return cell ? `${cellName(cell)} (${signed(cell.value)})` : "not measured";
}

/** What one ablated part did, or null where it has not been run. */
export function offText(now: LabNow, part: Part): string | null {
  const answer = answerIn(now, "ablate", ({ parts }) => parts.length === 1 && parts[0] === part);
  return answer && `${quoted(answer.token)} ${movedText(answer.clean_p, answer.patched_p)}`;
}

/** Which way the answer's probability went without this part; "same" where that was not run. */
export function offWay(now: LabNow, part: Part): Direction {
  const answer = answerIn(now, "ablate", ({ parts }) => parts.length === 1 && parts[0] === part);
  return answer ? directionOf(answer.patched_p - answer.clean_p) : "same";
}

/** The ablations of single heads that were made in this Lab, newest last. */
export function ablatedHeads(now: LabNow): readonly Part[] {
  return now.history.flatMap(({ question, answer }) => (question.ask === "ablate" && answer !== null && question.prompt === now.baseline?.prompt && question.parts.length === 1 ? [...question.parts] : []));
}

/** The strongest induction heads of the model, the strongest first. */
export function inductionHeads(now: LabNow, most = 3): readonly Cell[] {
  const scores = answerIn(now, "heads")?.scores["induction"];
  return scores ? strongestCells(scores, most) : [];
}

export function isRun(now: LabNow, ask: Parameters<typeof answerIn>[1]): boolean {
  return answerIn(now, ask) !== null;
}
