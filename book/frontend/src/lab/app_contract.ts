// Owns what the parts of the Lab share in the page: its state, and what the shell lends to modes and panels.

import type { Answers, Identity, LabState, Mode, OpenAnswer, Part, Question, Refusal } from "./contract";

/** The run that everything else is compared with. It is replaced only by another prompt's, once that has been answered. */
export interface Baseline {
  readonly model: string;
  readonly prompt: string;
  readonly answer: OpenAnswer;
}

/** Whether two baselines are of one prompt: of a long one the answer grows while it comes. */
export function isSameRun(a: Baseline | null, b: Baseline | null): boolean {
  return a !== null && b !== null && a.model === b.model && a.prompt === b.prompt;
}

/** What has become of the prompt that was asked last. */
export type Opening =
  | { readonly kind: "none" }
  | { readonly kind: "asking"; readonly model: string; readonly prompt: string }
  | { readonly kind: "refused"; readonly model: string; readonly prompt: string; readonly refusal: Refusal };

export interface Selection {
  /** The position whose prediction, lens and flow are shown: 0 to tokens - 1. */
  readonly position: number;
  /** What was chosen in the pipeline, in this order; the last is the one looked at. Empty: nothing is. */
  readonly parts: readonly Part[];
  /** A place chosen in a map of layers and positions (patch); null where none is. */
  readonly place: { readonly layer: number; readonly position: number } | null;
}

export type AnyAnswer = Answers[keyof Answers];
export type AnsweredBy = "live" | "frozen";

/** The experiment that the reader is at. Its question says everything about it. */
export type Experiment =
  | { readonly kind: "none" }
  | { readonly kind: "running"; readonly question: Question; readonly predicted: string; readonly soFar: AnyAnswer | null }
  | { readonly kind: "done"; readonly question: Question; readonly predicted: string; readonly answer: AnyAnswer; readonly by: AnsweredBy; readonly took_ms: number }
  | { readonly kind: "failed"; readonly question: Question; readonly predicted: string; readonly refusal: Refusal };

/** A finished experiment. `answer` is null where it came by a permalink and has not been asked yet. */
export interface Entry {
  readonly name: string;
  readonly question: Question;
  readonly predicted: string;
  readonly answer: AnyAnswer | null;
}

/** Whether a kernel answers. `canStart` says whether there is one to be had here. */
export type Connection =
  | { readonly kind: "frozen"; readonly canStart: boolean }
  | { readonly kind: "starting" }
  | { readonly kind: "live" }
  | { readonly kind: "lost"; readonly reason: string; readonly canStart: boolean };

export interface LabNow {
  /** The run that is shown; null only before the first prompt was answered. */
  readonly baseline: Baseline | null;
  readonly opening: Opening;
  readonly selection: Selection;
  readonly mode: Mode;
  readonly experiment: Experiment;
  readonly history: readonly Entry[];
  readonly connection: Connection;
}

export interface LabStore {
  readonly now: LabNow;
  /** Hear every change, after it has happened, until the signal aborts. It is not called for the present state. */
  subscribe(listener: (now: LabNow, before: LabNow) => void, signal: AbortSignal): void;
  update(change: Partial<LabNow>): void;
}

/** Colours for the pipeline's cells, by part. What is left out keeps its quiet look. */
export interface Marks {
  /** What the colours say, as a sentence for the legend: "Change of the answer's logit when the head is off". */
  readonly legend: string;
  /** Diverging colours stand around 0, sequential ones begin at 0. */
  readonly scale: "diverging" | "sequential";
  /** The value with the strongest colour; the same for both signs. */
  readonly most: number;
  /** [layer][head]; null where nothing is known (yet). */
  readonly heads?: readonly (readonly (number | null)[])[];
  /** [layer] */
  readonly attn?: readonly (number | null)[];
  readonly mlp?: readonly (number | null)[];
  readonly unit: string;
}

/** Parts drawn as taken away, replaced or pushed; the sign and the word say it, not the colour alone. */
export interface Changed {
  readonly parts: readonly Part[];
  readonly word: "off" | "patched" | "pushed";
}

/** What the shell lends to a mode or a panel. */
export interface LabHost {
  readonly store: LabStore;
  /**
   * Ask a question beside the experiment: no history, nothing shown by the shell.
   * Rejects with a `LabRefusal`, or an AbortError.
   */
  ask<Q extends Question>(question: Q, signal: AbortSignal, onPart?: (soFar: Answers[Q["ask"]]) => void): Promise<Answers[Q["ask"]]>;
  /** Run an experiment: its state is `store.now.experiment`, and when it is done it stands in the history. One at a time: a new one cancels the old. */
  run(question: Question, predicted: string): Promise<void>;
  cancel(): void;
  /** Who could answer this now: a frozen answer comes at once; null means that a kernel is needed and there is none. */
  whoCan(question: Question): AnsweredBy | null;
  /** The questions of this kind that the present prompt's frozen file answers: what to offer without a kernel. */
  frozenQuestions<A extends Question["ask"]>(ask: A): readonly Extract<Question, { ask: A }>[];
  /** Prompts with a frozen file, of the present model. */
  readonly prompts: readonly string[];
  /** The fields that every question about the present run has. Throws before the first prompt was answered. */
  asked(): { readonly model: string; readonly prompt: string };
  select(change: Partial<Selection>): void;
  setMode(mode: Mode): void;
  /** Open another prompt; resolves when it is shown or refused. */
  open(model: string, prompt: string): Promise<void>;
  /** Take up a whole state: a permalink, a step of the tour, an entry of the history. */
  restore(state: LabState): Promise<void>;
  /** Start the kernel, where there is one to be had. */
  goLive(): void;
  /** Colour the pipeline until the mode is left, or null. */
  mark(marks: Marks | null): void;
  /** Show parts as changed until the mode is left, or null. */
  change(changed: Changed | null): void;
  /** Put identities of the present picture into the panel that is always on; they go with the mode. */
  showIdentities(identities: readonly Identity[]): void;
  /** A word that leads to the glossary and has its definition in a bubble. `name` is the glossary's term. */
  term(name: string, words?: string): HTMLElement;
  /** Tell a screen reader. */
  announce(text: string): void;
}

/**
 * One way of working in the Lab. The shell draws tab, heading and hint, gives the mode's colour as `--lab-mode`, and
 * calls `mount` each time the mode is entered or another prompt is shown; the signal aborts when it is left.
 */
export interface LabMode {
  readonly name: Mode;
  readonly title: string;
  /** One sentence: what one does here. */
  readonly hint: string;
  /** What a click on the pipeline chooses: one part, or one more (a second click takes it out again). */
  readonly picks: "one" | "many";
  mount(place: HTMLElement, lab: LabHost, signal: AbortSignal): void;
}

/** Something beside the modes: history, export, tour. `bar` stands in the head as buttons, `foot` below everything. */
export interface LabPanel {
  readonly name: string;
  readonly where: "bar" | "foot";
  mount(place: HTMLElement, lab: LabHost, signal: AbortSignal): void;
}

/** Whether a thrown value is a refusal; by name, since each script of the page has its own classes. */
export function isLabRefusal(thrown: unknown): thrown is Error & { readonly refusal: Refusal } {
  return thrown instanceof Error && thrown.name === "LabRefusal" && "refusal" in thrown;
}

export class LabRefusal extends Error {
  override readonly name = "LabRefusal";
  constructor(readonly refusal: Refusal) {
    super(refusal.message);
  }
}
