// Owns an experiment as data: JSON whole in itself, and its numbers as CSV, one observation a row.

import type { AnyAnswer, Entry } from "./app_contract";
import type { CompareAnswer, HeadMapAnswer, HeadsAnswer, LensAnswer, PatchMapAnswer } from "./contract";
import { isBeforeAfter } from "./history_list";

/** What an exported experiment says of itself; "question" alone is enough to ask it again. */
export function experimentJson(entry: Entry): string {
  const { name, question, predicted, answer } = entry;
  return `${JSON.stringify({ format: "tlab-lab-experiment", version: 1, name, question, predicted, answer }, null, 2)}\n`;
}

type Cell = string | number | null;

/** The numbers as a table with its head; an answer without a table of its own gives its one line of numbers. */
export function tableOf(answer: AnyAnswer): readonly (readonly Cell[])[] {
  if ("recovered" in answer && Array.isArray(answer.recovered)) return patchMap(answer as PatchMapAnswer);
  if ("effect" in answer && Array.isArray(answer.effect)) return grid((answer as HeadMapAnswer).effect, ["layer", "head", "effect_logits"]);
  if ("followed_rank" in answer) return lens(answer as LensAnswer);
  if ("scores" in answer && !("kind" in answer)) return scores(answer as HeadsAnswer);
  if ("pairs" in answer) return comparison(answer as CompareAnswer);
  return isBeforeAfter(answer) ? beforeAfter(answer) : [["explain"], [answer.explain]];
}

export function csv(rows: readonly (readonly Cell[])[]): string {
  return rows.map((row) => row.map(field).join(",")).join("\r\n") + "\r\n";
}

/** Quoted where it must be; a text that a spreadsheet would run as a formula gets an apostrophe in front. */
function field(cell: Cell): string {
  if (cell === null) return "";
  if (typeof cell === "number") return String(cell);
  const safe = /^[=+\-@\t\r]/.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]/.test(safe) || safe !== safe.trim() ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function grid(values: readonly (readonly (number | null)[])[], head: readonly string[]): readonly (readonly Cell[])[] {
  return [head, ...values.flatMap((row, at) => row.map((value, column) => [at, column, value]))];
}

function patchMap({ over, recovered, tokens, corrupted_tokens }: PatchMapAnswer): readonly (readonly Cell[])[] {
  if (over === "head") return grid(recovered, ["layer", "head", "recovered"]);
  const rows = recovered.flatMap((row, layer) => row.map((value, position) => [layer, position, tokens[position] ?? null, corrupted_tokens[position] ?? null, value]));
  return [["layer", "position", "clean_token", "corrupted_token", "recovered"], ...rows];
}

function lens({ token, p, followed_p, followed_rank }: LensAnswer): readonly (readonly Cell[])[] {
  const rows = p.flatMap((row, after) => row.map((value, position) => [after - 1, position, token[after]?.[position] ?? null, value, followed_p[after] ?? null, followed_rank[after] ?? null]));
  return [["after_layer", "position", "token", "probability", "followed_probability", "followed_rank"], ...rows];
}

function scores(answer: HeadsAnswer): readonly (readonly Cell[])[] {
  const kinds = Object.entries(answer.scores);
  return [["kind", "layer", "head", "score"], ...kinds.flatMap(([kind, rows]) => rows.flatMap((row, layer) => row.map((value, head) => [kind, layer, head, value])))];
}

function comparison({ stream, pattern, pairs }: CompareAnswer): readonly (readonly Cell[])[] {
  const streams = stream.flatMap((row, after) => row.map((value, at) => ["stream", after - 1, pairs[at]?.[0] ?? null, pairs[at]?.[1] ?? null, null, value]));
  const patterns = pattern.flatMap((row, layer) => row.map((value, head) => ["pattern", layer, null, null, head, value]));
  return [["of", "layer", "first_position", "second_position", "head", "distance"], ...streams, ...patterns];
}

function beforeAfter(answer: AnyAnswer): readonly (readonly Cell[])[] {
  if (!isBeforeAfter(answer)) return [];
  const runs: [string, readonly { readonly token: string; readonly id: number; readonly p: number }[]][] = [["clean", answer.clean], ["patched", answer.patched]];
  if ("corrupted" in answer && Array.isArray(answer.corrupted)) runs.push(["corrupted", answer.corrupted]);
  return [["run", "token", "id", "probability"], ...runs.flatMap(([run, guesses]) => guesses.map(({ token, id, p }) => [run, token, id, p]))];
}
