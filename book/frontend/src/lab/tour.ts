// Owns how a guide goes on: its steps, when one is done, and where the reader left it. Pure; what is said and shown is elsewhere.

import type { AnyAnswer, LabNow } from "./app_contract";
import type { Answers, Mode, Part, Question } from "./contract";

/** What the button "Do it for me" does, for whoever would rather watch, and for every keyboard. */
export type Help =
  | { readonly kind: "mode"; readonly mode: Mode }
  | { readonly kind: "parts"; readonly of: (now: LabNow) => readonly Part[] }
  | { readonly kind: "press"; readonly at: string }
  | { readonly kind: "type"; readonly at: string; readonly text: string }
  | { readonly kind: "all"; readonly of: readonly Help[] };

/** `words` are paragraphs; [[term]] and [[term|words]] lead to the glossary. Numbers in them come from the state alone. */
export interface Step {
  readonly kind: "do" | "predict" | "see" | "means" | "next";
  readonly title: string;
  readonly words: (now: LabNow) => readonly string[];
  /** A selector inside the Lab: what the step is about. */
  readonly at?: string;
  /** When the step is done; without it, it is done when it has been read. */
  readonly until?: (now: LabNow) => boolean;
  readonly help?: Help;
}

export interface Guide {
  readonly name: string;
  readonly title: string;
  readonly about: string;
  readonly minutes: number;
  /** The first of these that can be opened; none: whichever prompt is shown. */
  readonly prompts: readonly string[];
  readonly steps: readonly Step[];
}

export const STEP_WORDS: Readonly<Record<Step["kind"], string>> = { do: "Do", predict: "Predict", see: "What appeared", means: "What it means", next: "What to try next" };

export function isDone(step: Step, now: LabNow): boolean {
  return step.until?.(now) ?? true;
}

/** The newest answer of this kind for the shown prompt: at hand, else from the history. */
export function answerIn<A extends Question["ask"]>(now: LabNow, ask: A, fits: (question: Extract<Question, { ask: A }>) => boolean = () => true): Answers[A] | null {
  const { baseline, experiment, history } = now;
  const made: { readonly question: Question; readonly answer: AnyAnswer | null }[] = [...history];
  if (experiment.kind === "done") made.push(experiment);
  const found = made.findLast(({ question, answer }) => {
    const isOfRun = question.ask === ask && question.model === baseline?.model && question.prompt === baseline.prompt;
    return answer !== null && isOfRun && fits(question as Extract<Question, { ask: A }>);
  });
  return (found?.answer as Answers[A] | undefined) ?? null;
}

const KEY = "tl-lab-tour";

/** How far each guide was read: its step, or "done". */
export type Progress = Readonly<Record<string, number | "done">>;

/** What the browser kept; anything else is no progress. */
export function readProgress(text: string | null, guides: readonly Guide[]): Progress {
  try {
    const raw: unknown = JSON.parse(text ?? "{}");
    if (typeof raw !== "object" || raw === null) return {};
    const known = guides.flatMap(({ name, steps }): [string, number | "done"][] => {
      const value = Object.hasOwn(raw, name) ? (raw as Record<string, unknown>)[name] : undefined;
      const isStep = typeof value === "number" && Number.isInteger(value) && value > 0 && value < steps.length;
      return value === "done" || isStep ? [[name, value]] : [];
    });
    return Object.fromEntries(known);
  } catch {
    return {};
  }
}

export function keptProgress(guides: readonly Guide[]): Progress {
  try {
    return readProgress(localStorage.getItem(KEY), guides);
  } catch {
    return {};
  }
}

export function keepProgress(progress: Progress): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(progress));
  } catch {
    // A browser that keeps nothing begins every guide anew.
  }
}

export interface Piece {
  readonly text: string;
  readonly term: string | null;
}

/** A paragraph in pieces: letters, and terms of the glossary. */
export function pieces(words: string): readonly Piece[] {
  const parts = words.split(/\[\[([^\][|]+)(?:\|([^\][]+))?\]\]/);
  const all: Piece[] = [];
  for (let at = 0; at < parts.length; at += 3) {
    if (parts[at]) all.push({ text: parts[at] ?? "", term: null });
    const term = parts[at + 1];
    if (term !== undefined) all.push({ text: parts[at + 2] ?? term, term });
  }
  return all;
}
