// Owns what a question, an experiment and a Lab's state must look like when they come from outside: a link, a file, a pasted text.

import type { AblationMethod, LabState, Mode, PatchOver, Question } from "./contract";
import { isObject, list, number, oneOf, orNull, record, text, type Shape } from "./sources/shapes";
import { readPart } from "./modes/part_names";

const METHODS: readonly AblationMethod[] = ["zero", "mean", "resample"];
const OVERS: readonly PatchOver[] = ["resid_pre", "attn_out", "mlp_out", "head"];
export const MODES: readonly Mode[] = ["look", "ablate", "patch", "steer", "compare", "lens", "heads"];

/** The same bounds as tlab.lab's own: what is longer would be refused there. */
const LONGEST = { text: 20_000, name: 1000 };
const MOST = { entries: 100, parts: 1000, number: 10_000 };

const bounded = (most: number, isEmptyFine = false): Shape => (value, path) => {
  const problem = text(value, path);
  if (problem !== null) return problem;
  const { length } = value as string;
  if (length > most) return `${path}: expected at most ${most} letters, got ${length}`;
  return length === 0 && !isEmptyFine ? `${path}: expected a text, got none` : null;
};

const whole: Shape = (value, path) => (Number.isSafeInteger(value) && (value as number) >= 0 ? null : `${path}: expected a whole number from 0 on`);
const strength: Shape = (value, path) => number(value, path) ?? (Math.abs(value as number) <= MOST.number ? null : `${path}: expected a number from −${MOST.number} to ${MOST.number}`);
const part: Shape = (value, path) => bounded(LONGEST.name)(value, path) ?? (value === "embed" || readPart(value as string) ? null : `${path}: expected a part such as L3H4`);
const parts: Shape = (value, path) => {
  const problem = list(part)(value, path);
  if (problem !== null) return problem;
  const count = (value as readonly unknown[]).length;
  return count >= 1 && count <= MOST.parts ? null : `${path}: expected 1 to ${MOST.parts} parts, got ${count}`;
};

const name = bounded(LONGEST.name);
const prompt = bounded(LONGEST.text);
const method = oneOf(...METHODS);
const asked = { model: name, prompt };

/** Experiments alone: what is merely looked at needs no place in a history. */
const QUESTIONS: Readonly<Partial<Record<Question["ask"], Shape>>> = {
  lens: record({ ...asked, kind: oneOf("logit", "tuned") }),
  heads: record(asked),
  ablate: record({ ...asked, parts, method, seed: whole }),
  head_map: record({ ...asked, method, seed: whole }),
  patch: record({ ...asked, corrupted: prompt, part, position: orNull(whole) }),
  patch_map: record({ ...asked, corrupted: prompt, over: oneOf(...OVERS) }),
  steer: record({ ...asked, toward: prompt, away: bounded(LONGEST.text, true), layer: whole, coef: strength }),
  compare: record({ ...asked, other: prompt }),
};

const FIELDS: Readonly<Partial<Record<Question["ask"], readonly string[]>>> = {
  lens: ["kind"], heads: [], ablate: ["parts", "method", "seed"], head_map: ["method", "seed"], patch: ["corrupted", "part", "position"],
  patch_map: ["corrupted", "over"], steer: ["toward", "away", "layer", "coef"], compare: ["other"],
};

export const questionShape: Shape = (value, path) => {
  const ask = isObject(value) ? value["ask"] : undefined;
  const shape = typeof ask === "string" && Object.hasOwn(QUESTIONS, ask) ? QUESTIONS[ask as Question["ask"]] : undefined;
  return shape ? shape(value, path) : `${path}.ask: expected an experiment (${Object.keys(QUESTIONS).join(", ")})`;
};

/** The question with its own fields alone, in one order: what else came along is left behind. */
export function cleanQuestion(question: Question): Question {
  const fields = ["ask", "model", "prompt", ...(FIELDS[question.ask] ?? [])];
  return Object.fromEntries(fields.map((field) => [field, (question as unknown as Record<string, unknown>)[field]])) as unknown as Question;
}

function oneOfOne(value: unknown, path: string): string | null {
  return value === 1 ? null : `${path}: expected 1, the only version there is`;
}

const ENTRY = record({ name: bounded(LONGEST.name), question: questionShape, predicted: bounded(40, true) });

/** An exported experiment's question, name and prediction, or the first thing that is wrong with it. Its numbers are asked anew. */
export function checkedExperiment(raw: unknown): LabState["history"][number] | string {
  const problem = EXPERIMENT(raw, "experiment");
  if (problem !== null) return problem;
  const { name: called, question, predicted } = raw as LabState["history"][number];
  return { name: called, question: cleanQuestion(question), predicted };
}

const EXPERIMENT = record({ format: oneOf("tlab-lab-experiment"), version: oneOfOne, name: bounded(LONGEST.name), question: questionShape, predicted: bounded(40, true) });

const STATE = record({ model: name, prompt, mode: oneOf(...MODES), position: orNull(whole), part: orNull(part), history: list(ENTRY) });

/** The state, or the first thing that is wrong with it. */
export function checkedState(raw: unknown): LabState | string {
  const problem = STATE(raw, "link");
  if (problem !== null) return problem;
  const state = raw as LabState;
  if (state.history.length > MOST.entries) return `link.history: expected at most ${MOST.entries} experiments, got ${state.history.length}`;
  const { model, prompt: of, mode, position, part: at } = state;
  return { model, prompt: of, mode, position, part: at, history: state.history.map((entry) => ({ name: entry.name, question: cleanQuestion(entry.question), predicted: entry.predicted })) };
}
