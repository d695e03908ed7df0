// Owns the order that every experiment keeps: choose, predict, run, compare. What is chosen and drawn belongs to the mode.

import { el, unreachable } from "../../dom";
import type { AnyAnswer, Experiment, LabHost } from "../app_contract";
import type { Answers, Question } from "../contract";
import { canonical } from "../sources/canonical";
import { answerText } from "./answer_text";
import { button, notHeld, progress, refused } from "./asking";
import { forecastForm, setWantsToPredict, wantsToPredict } from "./forecast_form";
import { forecastFor, judge, predictedWords, VERDICTS, type Forecast } from "./forecasts";
import { baselineOf } from "./run_facts";

export type AskedIn<A extends Question["ask"]> = Extract<Question, { ask: A }>;

export interface BenchSpec<A extends Question["ask"]> {
  readonly ask: A;
  /** The run button: "Turn off and compare". */
  readonly verb: string;
  /** What the controls stand for now, or the sentence that says what is still missing. */
  question(): AskedIn<A> | string;
  draw(place: HTMLElement, answer: Answers[A], question: AskedIn<A>): void;
  /** The result in one sentence, for a screen reader. */
  said(answer: Answers[A], question: AskedIn<A>): string;
  /** What is stored instead, as buttons, where the question is not. */
  stored(): readonly HTMLElement[];
  /** Draws an answer that is still coming, where that says something. */
  readonly drawPart?: (place: HTMLElement, soFar: Answers[A], question: AskedIn<A>) => void;
  readonly progress?: (soFar: Answers[A]) => number | null;
}

export class Bench<A extends Question["ask"]> {
  readonly predicting = el("section", { class: "lab-predict", "aria-label": "Predict and run" });
  readonly outcome = el("section", { class: "lab-outcome", "aria-label": "What came" });
  #asked = "";
  #chosen = "";
  #drawn: Experiment | null = null;
  #bar: ReturnType<typeof progress> | null = null;
  readonly #part = el("div", { class: "lab-part-answer" });

  constructor(private readonly spec: BenchSpec<A>, private readonly lab: LabHost, private readonly signal: AbortSignal) {
    lab.store.subscribe((now, before) => {
      if (now.experiment !== before.experiment) this.#show();
      if (now.connection !== before.connection || now.experiment.kind !== before.experiment.kind) this.refresh();
    }, signal);
    this.refresh();
    this.#show();
  }

  /** The controls changed: another question has another prediction. */
  refresh(): void {
    const question = this.spec.question();
    const key = typeof question === "string" ? question : canonical(question);
    if (key !== this.#asked) this.#chosen = "";
    this.#asked = key;
    const hadFocus = this.predicting.contains(document.activeElement);
    this.predicting.replaceChildren(...(typeof question === "string" ? [el("p", { class: "lab-soft lab-missing" }, question)] : this.#form(question)));
    if (hadFocus) this.predicting.querySelector<HTMLElement>("input:checked, input, button")?.focus();
  }

  /** A quick hand: runs at once where the reader does not want to predict, else leads to the prediction. */
  async quick(): Promise<void> {
    const question = this.spec.question();
    this.refresh();
    if (typeof question === "string") return;
    if (!wantsToPredict() || this.lab.whoCan(question) === null) return this.#run(question, "");
    this.predicting.querySelector<HTMLElement>("input")?.focus({ preventScroll: true });
    this.predicting.scrollIntoView?.({ block: "nearest" });
  }

  #form(question: AskedIn<A>): HTMLElement[] {
    if (this.lab.whoCan(question) === null) return [notHeld(this.lab, this.spec.stored(), this.signal)];
    const forecast = wantsToPredict() ? this.#forecast(question) : null;
    const isRunning = this.#mine()?.kind === "running";
    const run = button(this.spec.verb, () => void this.#run(question, this.#chosen), this.signal, true);
    run.dataset["tour"] = "run";
    run.disabled = isRunning || (forecast !== null && this.#chosen === "");
    const row = el("div", { class: "lab-row" }, run);
    if (forecast && this.#chosen === "") {
      const skip = button("Skip and run", () => void this.#run(question, ""), this.signal);
      skip.dataset["tour"] = "skip";
      skip.disabled = isRunning;
      row.append(skip);
    }
    row.append(this.#toggle());
    const form = forecast && forecastForm(forecast, this.#chosen, (value) => this.#choose(value), this.signal);
    return form ? [form, row] : [row];
  }

  #choose(value: string): void {
    this.#chosen = value;
    this.refresh();
  }

  #toggle(): HTMLElement {
    const box = el("input", { type: "checkbox", checked: wantsToPredict() });
    box.addEventListener("change", () => {
      setWantsToPredict(box.checked);
      this.refresh();
    }, { signal: this.signal });
    return el("label", { class: "lab-toggle" }, box, "Predict first");
  }

  async #run(question: AskedIn<A>, predicted: string): Promise<void> {
    await this.lab.run(question, predicted);
  }

  #forecast(question: Question): Forecast | null {
    const facts = baselineOf(this.lab);
    return facts && forecastFor(question, facts);
  }

  /** The store's experiment, where it is one of this bench's kind. */
  #mine(): Exclude<Experiment, { kind: "none" }> | null {
    const { experiment } = this.lab.store.now;
    return experiment.kind !== "none" && experiment.question.ask === this.spec.ask ? experiment : null;
  }

  #show(): void {
    const experiment = this.#mine();
    const before = this.#drawn;
    this.#drawn = experiment;
    if (!experiment) return this.outcome.replaceChildren(el("p", { class: "lab-soft lab-empty" }, "What comes will stand here, beside what was before."));
    const question = experiment.question as AskedIn<A>;
    switch (experiment.kind) {
      case "running":
        if (before?.kind !== "running" || before.question !== experiment.question) this.#showRunning();
        return this.#hear(question, experiment.soFar as Answers[A] | null);
      case "failed":
        return this.outcome.replaceChildren(refused(experiment.refusal, () => void this.#run(question, experiment.predicted), this.lab, this.signal));
      case "done":
        return this.#showDone(experiment);
      default:
        return unreachable(experiment);
    }
  }

  #showRunning(): void {
    this.#bar = progress("Running", () => this.lab.cancel(), this.signal);
    this.#part.replaceChildren();
    this.outcome.replaceChildren(this.#bar.element, this.#part);
  }

  #hear(question: AskedIn<A>, soFar: Answers[A] | null): void {
    if (soFar === null) return;
    this.#bar?.update(this.spec.progress?.(soFar) ?? null);
    if (!this.spec.drawPart) return;
    this.#part.replaceChildren();
    this.spec.drawPart(this.#part, soFar, question);
  }

  #showDone(experiment: Extract<Experiment, { kind: "done" }>): void {
    const question = experiment.question as AskedIn<A>;
    const answer = experiment.answer as Answers[A];
    const place = el("div", { class: "lab-result" });
    this.outcome.replaceChildren(...this.#verdict(question, experiment), place, answerText(answer as never, experiment.by, experiment.took_ms));
    this.spec.draw(place, answer, question);
    // On a phone the outcome may have come where nobody looks.
    if (this.outcome.getBoundingClientRect().top > window.innerHeight) this.outcome.scrollIntoView?.({ block: "nearest" });
    this.lab.announce(this.spec.said(answer, question));
  }

  #verdict(question: Question, { predicted, answer }: { readonly predicted: string; readonly answer: AnyAnswer }): HTMLElement[] {
    const forecast = this.#forecast(question);
    return forecast ? verdictCard(forecast, predicted, answer) : [];
  }
}

/** What was predicted beside what came; nothing where nothing was predicted. */
export function verdictCard(forecast: Forecast, predicted: string, answer: AnyAnswer): HTMLElement[] {
  const words = predictedWords(forecast, predicted);
  const came = forecast.came(answer);
  const verdict = came && judge(forecast, predicted, came.value);
  if (!words || !came || !verdict) return [];
  const { sign, words: judged } = VERDICTS[verdict];
  return [
    el(
      "div",
      { class: "lab-judged", "data-verdict": verdict },
      el("strong", {}, el("span", { "aria-hidden": "true" }, `${sign} `), judged),
      el("span", {}, `You said: ${words}. What came: ${came.words}.`),
    ),
  ];
}
