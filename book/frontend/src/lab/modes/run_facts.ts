// Owns the few facts about the shown run that questions, predictions and pictures need. It asks nothing.

import type { Baseline, LabHost, LabNow } from "../app_contract";
import type { Guess, ModelFacts, Question } from "../contract";

export interface RunFacts {
  /** The likeliest next token after the whole prompt, and its probability. */
  readonly token: string;
  readonly p: number;
  readonly n_heads: number;
}

export function baselineOf(lab: LabHost): RunFacts | null {
  const { baseline } = lab.store.now;
  const answer = baseline && answerOf(baseline);
  if (!baseline || !answer) return null;
  const { n_layers, n_heads } = baseline.answer.facts;
  return { token: answer.token, p: answer.p, n_heads: n_layers * n_heads };
}

export function answerOf(baseline: Baseline): Guess | null {
  return baseline.answer.next.at(-1)?.[0] ?? null;
}

/** Modes are mounted only while a run is shown. */
export function factsOf(lab: LabHost): ModelFacts {
  const { baseline } = lab.store.now;
  if (!baseline) throw new Error("a mode was shown before a run: expected a baseline, got none");
  return baseline.answer.facts;
}

/** The last question of this kind about the shown run: at hand, else from the history. Drafts are not kept anywhere else. */
export function lastAsked<A extends Question["ask"]>(now: LabNow, ask: A): Extract<Question, { ask: A }> | null {
  const { experiment, history, baseline } = now;
  const questions = [...history.map((entry) => entry.question), ...(experiment.kind === "none" ? [] : [experiment.question])];
  const fits = (question: Question): boolean => question.ask === ask && question.model === baseline?.model && question.prompt === baseline.prompt;
  return (questions.findLast(fits) as Extract<Question, { ask: A }> | undefined) ?? null;
}

/** "L0", "L1", … */
export function layerLabels(count: number): readonly string[] {
  return Array.from({ length: count }, (_, layer) => `L${layer}`);
}

export function headLabels(count: number): readonly string[] {
  return Array.from({ length: count }, (_, head) => `H${head}`);
}
