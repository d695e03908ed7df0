// Owns what the shell lends to views, modes and panels: questions, experiments, choices. It draws nothing.

import { isLabRefusal, isSameRun, type AnsweredBy, type AnyAnswer, type Baseline, type Changed, type LabHost, type Marks, type Selection } from "./app_contract";
import type { Answers, Identity, LabState, Mode, OpenAnswer, Question, Refusal } from "./contract";
import { nameOf } from "./question_words";
import { CombinedSource } from "./sources/combined";
import { FrozenSource } from "./sources/frozen";
import { LiveSource, type WidgetModel } from "./sources/live";
import { Store } from "./store";
import type { Surroundings } from "./surroundings";

/** What modes and panels say to the shell's views, beside the state that everybody shares. */
export interface Hearing {
  mark(marks: Marks | null): void;
  change(changed: Changed | null): void;
  showIdentities(identities: readonly Identity[]): void;
  announce(text: string): void;
}

export class Lab implements LabHost {
  readonly store = new Store();
  readonly #source: CombinedSource;
  #hearing: Hearing | null = null;
  #opening = new AbortController();
  #running = new AbortController();

  constructor(private readonly surroundings: Surroundings, private readonly signal: AbortSignal) {
    const { loadFrozen, startKernel, widget } = surroundings;
    this.#source = new CombinedSource(loadFrozen && new FrozenSource(loadFrozen), () => startKernel !== null);
    this.store.update({ connection: { kind: "frozen", canStart: startKernel !== null } });
    if (widget) this.connect(widget);
    signal.addEventListener("abort", () => {
      this.#opening.abort();
      this.#running.abort();
    });
  }

  /** Who draws what modes mark. */
  hear(hearing: Hearing): void {
    this.#hearing = hearing;
  }

  /** Learn what is stored, and open the first prompt. */
  async start(state: Partial<LabState>): Promise<void> {
    await this.#source.frozen?.start();
    const first = this.#source.frozen?.entries[0];
    const model = state.model || first?.model || this.models[0] || "";
    const prompt = state.prompt || this.promptsOf(model)[0] || FALLBACK_PROMPT;
    await this.restore({ mode: "look", position: null, part: null, history: [], ...state, model, prompt });
  }

  get models(): readonly string[] {
    const stored = this.#source.frozen?.entries.map((entry) => entry.model) ?? [];
    return [...new Set([...stored, ...(this.#source.live?.models ?? [])])];
  }

  get prompts(): readonly string[] {
    return this.promptsOf(this.store.now.baseline?.model ?? this.models[0] ?? "");
  }

  /** Prompts with stored answers; where none are stored, some that are worth a look with a kernel. */
  promptsOf(model: string): readonly string[] {
    const stored = this.#source.frozen?.entries.filter((entry) => entry.model === model).map((entry) => entry.prompt) ?? [];
    return stored.length === 0 && this.#source.live ? EXAMPLES : stored;
  }

  ask<Q extends Question>(question: Q, signal: AbortSignal, onPart?: (soFar: Answers[Q["ask"]]) => void): Promise<Answers[Q["ask"]]> {
    return this.#source.ask(question, signal, onPart);
  }

  whoCan(question: Question): AnsweredBy | null {
    return this.#source.whoCan(question);
  }

  frozenQuestions<A extends Question["ask"]>(ask: A): readonly Extract<Question, { ask: A }>[] {
    const { baseline } = this.store.now;
    const all = (baseline && this.#source.frozen?.questions(baseline.model, baseline.prompt)) ?? [];
    return all.filter((question): question is Extract<Question, { ask: A }> => question.ask === ask);
  }

  asked(): { readonly model: string; readonly prompt: string } {
    const { baseline } = this.store.now;
    if (!baseline) throw new Error("no run is shown yet: expected a baseline, got none; ask after the first prompt was answered");
    return { model: baseline.model, prompt: baseline.prompt };
  }

  async run(question: Question, predicted: string): Promise<void> {
    this.#running.abort();
    const running = new AbortController();
    this.#running = running;
    const began_ms = performance.now();
    const by = this.whoCan(question) ?? "live";
    this.store.update({ experiment: { kind: "running", question, predicted, soFar: null } });
    const hear = (soFar: AnyAnswer): void => {
      if (!running.signal.aborted) this.store.update({ experiment: { kind: "running", question, predicted, soFar } });
    };
    try {
      const answer = await this.#source.ask(question, running.signal, hear);
      if (running.signal.aborted) return;
      const entry = { name: nameOf(question), question, predicted, answer };
      this.store.update({
        experiment: { kind: "done", question, predicted, answer, by, took_ms: performance.now() - began_ms },
        history: [...this.store.now.history, entry],
      });
    } catch (error) {
      if (running.signal.aborted) return;
      this.store.update({ experiment: { kind: "failed", question, predicted, refusal: refusalFrom(error) } });
    }
  }

  cancel(): void {
    if (this.store.now.experiment.kind !== "running") return;
    this.#running.abort();
    this.store.update({ experiment: { kind: "none" } });
  }

  select(change: Partial<Selection>): void {
    const { baseline, selection } = this.store.now;
    const last = (baseline?.answer.tokens.length ?? 1) - 1;
    const next = { ...selection, ...change };
    this.store.update({ selection: { ...next, position: Math.min(Math.max(next.position, 0), last) } });
  }

  setMode(mode: Mode): void {
    if (mode === this.store.now.mode) return;
    this.#running.abort();
    this.store.update({ mode, experiment: { kind: "none" }, selection: { ...this.store.now.selection, place: null } });
  }

  async open(model: string, prompt: string): Promise<void> {
    this.#opening.abort();
    const opening = new AbortController();
    this.#opening = opening;
    const refuse = (refusal: Refusal): void => {
      this.store.update({ opening: { kind: "refused", model, prompt, refusal } });
      this.announce(refusal.message);
    };
    if (prompt === "") return refuse({ message: "There is nothing to continue: type at least one letter, or choose an example.", code: "empty-prompt" });
    this.store.update({ opening: { kind: "asking", model, prompt } });
    try {
      const hear = (soFar: OpenAnswer): void => {
        if (!opening.signal.aborted) this.#show({ model, prompt, answer: soFar });
      };
      hear(await this.#source.ask({ ask: "open", model, prompt }, opening.signal, hear));
      if (opening.signal.aborted) return;
      this.store.update({ opening: { kind: "none" } });
      this.announce(this.store.now.baseline?.answer.explain ?? "");
    } catch (error) {
      if (!opening.signal.aborted) refuse(refusalFrom(error));
    }
  }

  #show(baseline: Baseline): void {
    const isNew = !isSameRun(baseline, this.store.now.baseline);
    if (!isNew) return this.store.update({ baseline });
    this.#running.abort();
    this.store.update({ baseline, selection: { position: baseline.answer.tokens.length - 1, parts: [], place: null }, experiment: { kind: "none" } });
  }

  async restore(state: LabState): Promise<void> {
    await this.open(state.model, state.prompt);
    const { baseline } = this.store.now;
    if (baseline?.model !== state.model || baseline.prompt !== state.prompt) return;
    const history = state.history.map((entry) => ({ ...entry, answer: null }));
    if (history.length > 0) this.store.update({ history });
    this.setMode(state.mode);
    this.select({ position: state.position ?? baseline.answer.tokens.length - 1, parts: state.part === null ? [] : [state.part] });
  }

  goLive(): void {
    const { startKernel } = this.surroundings;
    const { kind } = this.store.now.connection;
    if (!startKernel || kind === "starting" || kind === "live") return;
    this.store.update({ connection: { kind: "starting" } });
    startKernel((reason) => this.#source.live?.lose(reason)).then(
      (widget) => this.connect(widget),
      (error: unknown) => this.#lost(refusalFrom(error).message),
    );
  }

  connect(widget: WidgetModel): void {
    if (this.signal.aborted) return;
    this.#source.connect(new LiveSource(widget, (reason) => this.#lost(reason)));
    this.store.update({ connection: { kind: "live" } });
    this.announce("A kernel is connected: everything can be computed now.");
  }

  /** The widget's kernel is gone. */
  lose(reason: string): void {
    this.#source.live?.lose(reason);
  }

  #lost(reason: string): void {
    if (this.signal.aborted) return;
    this.store.update({ connection: { kind: "lost", reason, canStart: this.surroundings.startKernel !== null } });
    this.announce(reason);
  }

  mark(marks: Marks | null): void {
    this.#hearing?.mark(marks);
  }

  change(changed: Changed | null): void {
    this.#hearing?.change(changed);
  }

  showIdentities(identities: readonly Identity[]): void {
    this.#hearing?.showIdentities(identities);
  }

  term(name: string, words = name): HTMLElement {
    return this.surroundings.term(name, words);
  }

  announce(text: string): void {
    this.#hearing?.announce(text);
  }
}

const EXAMPLES = [
  "The capital of France is",
  "The cat sat on the mat. The cat sat on the",
  "When Mary and John went to the store, John gave a drink to",
  "The opposite of hot is",
  "def add(a, b):\n    return a +",
];
const FALLBACK_PROMPT = "The capital of France is";

/** Whatever was thrown, as a sentence for the reader. */
export function refusalFrom(thrown: unknown): Refusal {
  if (isLabRefusal(thrown)) return thrown.refusal;
  console.error(thrown);
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  return { message: `The Lab's own code failed (${reason}). Reload the page; if it stays so, please report it with this sentence.`, code: "page-fault" };
}
