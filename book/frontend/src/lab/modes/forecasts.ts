// Owns what a reader can predict before a run, and how that compares with what came. Asks nothing and draws nothing.

import type { AnyAnswer } from "../app_contract";
import type { BeforeAfter, CompareAnswer, HeadsAnswer, LensAnswer, Question } from "../contract";
import { percent, plain } from "../drawing/words";
import { directionOf, klWord, nats, points, quoted } from "./sentences";

export interface Choice {
  /** What is kept in history and permalinks. */
  readonly value: string;
  /** A sign that says it in one place of a scale: "▼▼". */
  readonly sign: string;
  readonly words: string;
}

/** One question to the reader with ordered choices, and what a finished answer says to it. */
export interface Forecast {
  readonly asks: string;
  readonly choices: readonly Choice[];
  /** The choice that would have been right, and what came as a clause; null where the answer says nothing to it. */
  came(answer: AnyAnswer): { readonly value: string; readonly words: string } | null;
}

export type Verdict = "right" | "near" | "wrong";

/** Changes of the answer's probability: less than 5 points, 5 to 25, more. */
const MOVES: readonly Choice[] = [
  { value: "down much", sign: "▼▼▼", words: "falls by more than 25 points" },
  { value: "down some", sign: "▼▼", words: "falls by 5 to 25 points" },
  { value: "down little", sign: "▼", words: "falls by less than 5 points" },
  { value: "same", sign: "=", words: "stays as it is" },
  { value: "up little", sign: "▲", words: "rises by less than 5 points" },
  { value: "up some", sign: "▲▲", words: "rises by 5 to 25 points" },
  { value: "up much", sign: "▲▲▲", words: "rises by more than 25 points" },
];

export function moveOf(change: number): string {
  const way = directionOf(change);
  if (way === "same") return way;
  const size = Math.abs(change);
  return `${way} ${size < 0.05 ? "little" : size < 0.25 ? "some" : "much"}`;
}

/** @param when the end of the question: "with L3H4 off". */
export function moveForecast(token: string, p: number | null, when: string): Forecast {
  const now = p === null ? "" : ` (now ${percent(p)})`;
  return {
    asks: `What becomes of the probability of ${quoted(token)}${now} ${when}?`,
    choices: MOVES,
    came: (answer) => {
      if (!isBeforeAfter(answer)) return null;
      const change = answer.patched_p - answer.clean_p;
      const words = directionOf(change) === "same" ? `it stays at ${percent(answer.patched_p)}` : `${points(change)}, to ${percent(answer.patched_p)}`;
      return { value: moveOf(change), words };
    },
  };
}

const SHARES: readonly Choice[] = [
  { value: "away", sign: "↩", words: "it goes further away (below −10%)" },
  { value: "none", sign: "0", words: "hardly any (below 10%)" },
  { value: "part", sign: "◔", words: "a part (10% to 50%)" },
  { value: "most", sign: "◕", words: "most (50% to 90%)" },
  { value: "all", sign: "●", words: "all of it (90% or more)" },
];

export function shareChoice(recovered: number): string {
  if (recovered < -0.1) return "away";
  if (recovered < 0.1) return "none";
  if (recovered < 0.5) return "part";
  return recovered < 0.9 ? "most" : "all";
}

/** @param where the place that is patched: "L3H4, at all positions". */
export function patchForecast(where: string): Forecast {
  return {
    asks: `With ${where} taken from the clean run, how much of the way back to it does the corrupted run go?`,
    choices: SHARES,
    came: (answer) => {
      if (!("recovered" in answer) || typeof answer.recovered !== "number") return null;
      return { value: shareChoice(answer.recovered), words: `${percentOfWay(answer.recovered)} of the way` };
    },
  };
}

/** A share of the way from the corrupted to the clean run: it may be below 0% or above 100%. */
export function percentOfWay(share: number): string {
  return Number.isFinite(share) ? `${plain(100 * share, 0)}%` : "–";
}

const THIRDS: readonly Choice[] = [
  { value: "early", sign: "1/3", words: "in the first third of the layers" },
  { value: "middle", sign: "2/3", words: "in the middle third" },
  { value: "late", sign: "3/3", words: "in the last third" },
];

/** The first layer from which the followed token stays the likeliest one to the end; null if it never does. */
export function settledAt(ranks: readonly number[]): number | null {
  let at = ranks.length;
  while (at > 0 && ranks[at - 1] === 1) at -= 1;
  return at === ranks.length ? null : at;
}

export function lensForecast(token: string): Forecast {
  return {
    asks: `From where on does the lens put ${quoted(token)} first?`,
    choices: THIRDS,
    came: (answer) => {
      if (!("followed_rank" in answer)) return null;
      const ranks = (answer as LensAnswer).followed_rank;
      const at = settledAt(ranks);
      if (at === null) return { value: "late", words: "it never comes first" };
      const share = at / Math.max(1, ranks.length - 1);
      const value = share < 1 / 3 ? "early" : share < 2 / 3 ? "middle" : "late";
      return { value, words: at === 0 ? "it is first from the embedding on" : `it is first from after layer ${at - 1} on` };
    },
  };
}

const COUNTS: readonly Choice[] = [
  { value: "none", sign: "0", words: "none" },
  { value: "few", sign: "1–5", words: "one to five" },
  { value: "several", sign: "6–20", words: "six to twenty" },
  { value: "many", sign: "> 20", words: "more than twenty" },
];

/** A head counts as one of a kind from this score on. */
export const HEAD_THRESHOLD = 0.4;

export function headsForecast(n_heads: number, kind = "induction"): Forecast {
  return {
    asks: `How many of the ${n_heads} heads are ${kind} heads (score ${HEAD_THRESHOLD} or more)?`,
    choices: COUNTS,
    came: (answer) => {
      const scores = "scores" in answer && !("kind" in answer) ? (answer as HeadsAnswer).scores[kind] : undefined;
      if (!scores) return null;
      const count = scores.flat().filter((score) => score >= HEAD_THRESHOLD).length;
      const value = count === 0 ? "none" : count <= 5 ? "few" : count <= 20 ? "several" : "many";
      return { value, words: `${count} of ${scores.flat().length}` };
    },
  };
}

const FAR: readonly Choice[] = [
  { value: "hardly", sign: "≈", words: "hardly (below 0.01 nats)" },
  { value: "a little", sign: "≠", words: "a little (0.01 to 0.1 nats)" },
  { value: "clearly", sign: "≠≠", words: "clearly (0.1 to 1 nats)" },
  { value: "very far", sign: "≠≠≠", words: "very far (1 nat or more)" },
];

export function compareForecast(): Forecast {
  return {
    asks: "How far apart are the two predictions?",
    choices: FAR,
    came: (answer) => {
      if (!("pairs" in answer)) return null;
      const { kl_nats } = answer as CompareAnswer;
      return { value: klWord(kl_nats), words: `${nats(kl_nats)} of KL divergence` };
    },
  };
}

/** Two choices next to each other, or two on the same side of a scale that has sides, are near. */
export function judge(forecast: Forecast, predicted: string, came: string): Verdict | null {
  const said = forecast.choices.findIndex(({ value }) => value === predicted);
  const was = forecast.choices.findIndex(({ value }) => value === came);
  if (said < 0 || was < 0) return null;
  if (said === was) return "right";
  const side = (value: string): string => value.split(" ")[0] ?? "";
  const isSameSide = ["up", "down"].includes(side(came)) && side(came) === side(predicted);
  return isSameSide || Math.abs(said - was) === 1 ? "near" : "wrong";
}

export const VERDICTS: Readonly<Record<Verdict, { readonly sign: string; readonly words: string }>> = {
  right: { sign: "✓", words: "As you said" },
  near: { sign: "≈", words: "Close" },
  wrong: { sign: "✗", words: "Otherwise than you said" },
};

/** The words of a kept prediction; "" where it was skipped or is none of the choices, since links come from anywhere. */
export function predictedWords(forecast: Forecast, predicted: string): string {
  return forecast.choices.find(({ value }) => value === predicted)?.words ?? "";
}

/** The forecast that belongs to a question, or null for what is only looked at. */
export function forecastFor(question: Question, baseline: { readonly token: string; readonly p: number | null; readonly n_heads: number }): Forecast | null {
  const { token, p } = baseline;
  switch (question.ask) {
    case "ablate":
      return moveForecast(token, p, `with ${question.parts.length === 1 ? question.parts[0] ?? "" : "these parts"} off`);
    case "patch":
      return patchForecast(`${question.part}${question.position === null ? " at every position" : ` at position ${question.position}`}`);
    case "steer":
      return moveForecast(token, p, "under the push");
    case "lens":
      return lensForecast(token);
    case "heads":
      return headsForecast(baseline.n_heads);
    case "compare":
      return compareForecast();
    default:
      return null;
  }
}

function isBeforeAfter(answer: AnyAnswer): answer is AnyAnswer & BeforeAfter {
  return "patched_p" in answer && "clean_p" in answer;
}
