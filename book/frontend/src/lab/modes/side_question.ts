// Owns a question beside the experiment, such as a whole map: its states, its progress, and its place in the history.

import { el, unreachable } from "../../dom";
import { isLabRefusal, type LabHost } from "../app_contract";
import type { Answers, Question, Refusal } from "../contract";
import { nameOf } from "../question_words";
import { canonical } from "../sources/canonical";
import { notHeld, progress, refused } from "./asking";

type State<A extends Question["ask"]> =
  | { readonly kind: "idle" }
  | { readonly kind: "asking"; readonly soFar: Answers[A] | null }
  | { readonly kind: "done"; readonly answer: Answers[A] }
  | { readonly kind: "failed"; readonly refusal: Refusal };

export interface SideOptions<A extends Question["ask"]> {
  readonly lab: LabHost;
  readonly words: string;
  /** How much of an answer is there, 0 to 1. */
  progress(answer: Answers[A]): number;
  /** Hears each answer so far and the last one. */
  draw(answer: Answers[A], question: Extract<Question, { ask: A }>): void;
}

/** One at a time: a new question cancels the one before. */
export class SideQuestion<A extends Question["ask"]> {
  readonly element = el("div", { class: "lab-side" });
  #state: State<A> = { kind: "idle" };
  #question: Extract<Question, { ask: A }> | null = null;
  #asking = new AbortController();
  #bar: ReturnType<typeof progress> | null = null;

  constructor(private readonly options: SideOptions<A>, private readonly signal: AbortSignal) {
    signal.addEventListener("abort", () => this.#asking.abort());
  }

  get isAsking(): boolean {
    return this.#state.kind === "asking";
  }

  /** Show a finished answer from the history, where there is one to this question. */
  recall(question: Extract<Question, { ask: A }>): boolean {
    const key = canonical(question);
    const entry = this.options.lab.store.now.history.findLast((each) => each.answer !== null && canonical(each.question) === key);
    if (!entry) return false;
    this.#take(question, entry.answer as Answers[A]);
    return true;
  }

  /** The reader asked: the answer stands in the history. */
  async ask(question: Extract<Question, { ask: A }>): Promise<void> {
    const { lab } = this.options;
    if (this.recall(question)) return;
    const answer = await this.show(question);
    if (answer === null) return;
    lab.store.update({ history: [...lab.store.now.history, { name: nameOf(question), question, predicted: "", answer }] });
    lab.announce(`${this.options.words}: done.`);
  }

  /** Ask and draw, without a trace; null where no answer came. */
  async show(question: Extract<Question, { ask: A }>): Promise<Answers[A] | null> {
    const { lab } = this.options;
    this.#asking.abort();
    const asking = new AbortController();
    this.#asking = asking;
    this.#question = question;
    if (lab.whoCan(question) === null) return this.#showNotHeld();
    this.#show({ kind: "asking", soFar: null });
    const hear = (soFar: Answers[A]): void => {
      if (!asking.signal.aborted) this.#hear(question, soFar);
    };
    try {
      const answer = (await lab.ask<Extract<Question, { ask: A }>>(question, asking.signal, hear as never)) as Answers[A];
      if (asking.signal.aborted) return null;
      this.#take(question, answer);
      return answer;
    } catch (error) {
      if (asking.signal.aborted) return null;
      if (!isLabRefusal(error)) throw error;
      this.#show({ kind: "failed", refusal: error.refusal });
      return null;
    }
  }

  /** Stops; what has come so far stays on the page. */
  cancel(): void {
    this.#asking.abort();
    this.#show({ kind: "idle" });
    this.options.lab.announce("Cancelled. What was measured stays.");
  }

  #hear(question: Extract<Question, { ask: A }>, soFar: Answers[A]): void {
    this.#state = { kind: "asking", soFar };
    this.#bar?.update(this.options.progress(soFar));
    this.options.draw(soFar, question);
  }

  #take(question: Extract<Question, { ask: A }>, answer: Answers[A]): void {
    this.#show({ kind: "done", answer });
    this.options.draw(answer, question);
  }

  #showNotHeld(): null {
    this.#state = { kind: "idle" };
    this.element.replaceChildren(notHeld(this.options.lab, [], this.signal));
    return null;
  }

  #show(state: State<A>): void {
    this.#state = state;
    this.#bar = null;
    switch (state.kind) {
      case "idle":
      case "done":
        return this.element.replaceChildren();
      case "asking":
        this.#bar = progress(this.options.words, () => this.cancel(), this.signal);
        return this.element.replaceChildren(this.#bar.element);
      case "failed": {
        const again = (): void => void (this.#question && this.ask(this.#question));
        return this.element.replaceChildren(refused(state.refusal, again, this.options.lab, this.signal));
      }
      default:
        return unreachable(state);
    }
  }
}

/** The share of a map's cells that have come. */
export function shareKnown(cells: readonly (readonly (number | null)[])[]): number {
  const all = cells.flat();
  return all.length === 0 ? 0 : all.filter((cell) => cell !== null).length / all.length;
}
