// Owns the mode that pushes the stream in a direction: where it comes from, where and how hard it pushes, and the text that follows.

import { el } from "../../dom";
import type { LabHost, LabMode } from "../app_contract";
import type { SteerAnswer } from "../contract";
import { plain } from "../drawing/words";
import { button, storedChoices } from "./asking";
import { Bench, type AskedIn } from "./bench";
import { columns, step, terms } from "./layout";
import { choiceRow, labelled } from "./part_picker";
import { factsOf, lastAsked } from "./run_facts";
import { quoted, resultText } from "./sentences";
import { doses, steerResult, texts } from "./steer_result";

/** Strengths beyond this take every model apart; directions of the unembedding are far shorter than those between sentences. */
const MOST = { sentences: 8, token: 80 } as const;

/** What the slider reaches: all strengths that are stored, and at least those that make sense. */
export function reachOf(from: From, stored: readonly number[]): { readonly most: number; readonly step: number } {
  const most = Math.max(MOST[from], ...stored.map(Math.abs));
  return { most: Math.ceil(most), step: most > 10 ? 1 : 0.5 };
}

/** Where to begin: the smallest push forward that is stored. */
export function gentlest(stored: readonly AskedIn<"steer">[]): AskedIn<"steer"> | undefined {
  const forward = stored.filter(({ coef }) => coef > 0).sort((a, b) => a.coef - b.coef);
  return forward[0] ?? stored[0];
}

export const steer: LabMode = {
  name: "steer",
  title: "Steer",
  hint: "Push the stream in a direction while the model writes, and watch what it says and what that costs.",
  picks: "one",
  mount: (place, lab, signal) => new SteerMode(lab, signal).mount(place),
};

type From = "sentences" | "token";

const FROMS: readonly { readonly value: From; readonly words: string; readonly says: string }[] = [
  { value: "sentences", words: "two texts", says: "The stream at the end of the first minus that at the end of the second; between two single tokens, the direction in which their answers differ." },
  { value: "token", words: "a token", says: "The direction that makes this token likelier, out of the unembedding. Words mostly begin with a space." },
];

class SteerMode {
  #from: From;
  readonly #shows: (() => void)[] = [];
  readonly #toward: HTMLInputElement;
  readonly #away: HTMLInputElement;
  readonly #layer: HTMLInputElement;
  readonly #coef: HTMLInputElement;
  readonly #bench: Bench<"steer">;

  constructor(private readonly lab: LabHost, private readonly signal: AbortSignal) {
    const { n_layers } = factsOf(lab);
    const first = lastAsked(lab.store.now, "steer") ?? gentlest(lab.frozenQuestions("steer"));
    this.#from = first?.away === "" ? "token" : "sentences";
    this.#toward = this.#text(first?.toward ?? "I love this", "toward");
    this.#away = this.#text(first?.away ?? "I hate this", "away");
    this.#layer = this.#range(0, n_layers - 1, 1, first?.layer ?? Math.floor(n_layers / 2), "layer");
    this.#coef = this.#range(0, 0, 1, 0, "coef");
    this.#reach(first?.coef ?? 1);
    this.#bench = new Bench<"steer">(
      {
        ask: "steer",
        verb: "Steer and compare",
        question: () => this.#question(),
        draw: (place, answer, question) => this.#draw(place, answer, question),
        drawPart: (place, soFar) => place.append(texts(soFar)),
        said: (answer) => `${resultText(answer)} The steered text: ${answer.steered_text}`,
        stored: () => storedChoices(lab, "steer", ({ coef, layer, toward }) => `${quoted(toward)} at L${layer}, strength ${plain(coef, 1)}`, (question) => this.#take(question), signal, 10),
      },
      lab,
      signal,
    );
  }

  mount(place: HTMLElement): void {
    const { lab, signal } = this;
    const away = labelled("away from (empty: nothing)", this.#away);
    const from = choiceRow("Direction from", FROMS, this.#from, (value) => this.#setFrom(value, away), signal);
    const swap = button("⇄ Swap them", () => this.#swap(), signal);
    this.#setFrom(this.#from, away);
    const dose = step(2, "Choose where and how hard", this.#slider("after layer", this.#layer, "layer"), this.#slider("strength", this.#coef, "coef"));
    const stored = storedChoices(lab, "steer", ({ coef }) => `${coef > 0 ? "+" : ""}${plain(coef, 1)}`, (question) => this.#take(question), signal, 10);
    if (stored.length > 0) dose.append(el("p", { class: "lab-soft" }, "Strengths with a stored answer:"), el("div", { class: "lab-row", "data-tour": "stored-strengths" }, ...stored));
    place.append(
      columns(
        [step(1, "Choose a direction", from, wide(labelled("toward", this.#toward)), wide(away), el("div", { class: "lab-row" }, swap), terms(lab, "steering vector", "residual stream", "KL divergence")), dose, step(3, "Predict", this.#bench.predicting)],
        [step(4, "Compare", this.#bench.outcome)],
      ),
    );
  }

  #text(value: string, tour: string): HTMLInputElement {
    const input = el("input", { type: "text", class: "lab-text", maxlength: "500", spellcheck: "false", "data-tour": tour });
    input.value = value;
    input.addEventListener("input", () => this.#bench.refresh(), { signal: this.signal });
    return input;
  }

  #range(min: number, max: number, stepSize: number, value: number, tour: string): HTMLInputElement {
    const input = el("input", { type: "range", min: String(min), max: String(max), step: String(stepSize), "data-tour": tour });
    input.value = String(value);
    return input;
  }

  /** Let the slider reach what makes sense for this kind of direction, and set it. */
  #reach(coef: number): void {
    const { most, step: by } = reachOf(this.#from, [coef, ...this.lab.frozenQuestions("steer").map((question) => question.coef)]);
    Object.assign(this.#coef, { min: String(-most), max: String(most), step: Number.isInteger(coef / by) ? String(by) : "any" });
    this.#coef.value = String(coef);
    this.#shows.forEach((show) => show());
  }

  #slider(words: string, input: HTMLInputElement, kind: "layer" | "coef"): HTMLElement {
    const shown = el("output", {});
    const show = (): void => {
      const text = kind === "layer" ? `L${input.value}` : `${Number(input.value) > 0 ? "+" : ""}${plain(Number(input.value), 1)}`;
      shown.textContent = text;
      input.setAttribute("aria-valuetext", text);
    };
    input.addEventListener("input", () => {
      show();
      this.#bench.refresh();
    }, { signal: this.signal });
    this.#shows.push(show);
    show();
    return el("label", { class: "lab-slider" }, el("span", {}, words), input, shown);
  }

  #question(): AskedIn<"steer"> | string {
    const toward = this.#toward.value;
    const away = this.#from === "token" ? "" : this.#away.value;
    if (toward.trim() === "") return this.#from === "token" ? "Type the token to push toward, with its space in front: “ love”." : "Type a text to push toward.";
    if (toward === away) return "Both texts are the same, so there is no direction between them: change one.";
    const coef = Number(this.#coef.value);
    if (coef === 0) return "A strength of 0 changes nothing: move the slider.";
    return { ask: "steer", ...this.lab.asked(), toward, away, layer: Number(this.#layer.value), coef };
  }

  #setFrom(from: From, away: HTMLElement): void {
    this.#from = from;
    away.hidden = from === "token";
    this.#reach(Number(this.#coef.value));
    this.#bench.refresh();
  }

  #swap(): void {
    if (this.#from === "token") this.#coef.value = String(-Number(this.#coef.value));
    else [this.#toward.value, this.#away.value] = [this.#away.value, this.#toward.value];
    this.#shows.forEach((show) => show());
    this.#bench.refresh();
  }

  #take({ toward, away, layer, coef }: AskedIn<"steer">): void {
    this.#toward.value = toward;
    this.#away.value = away;
    this.#layer.value = String(layer);
    this.#from = away === "" ? "token" : "sentences";
    this.#reach(coef);
    void this.#bench.quick();
  }

  #draw(place: HTMLElement, answer: SteerAnswer, question: AskedIn<"steer">): void {
    this.lab.change({ parts: [`L${question.layer}`], word: "pushed" });
    place.append(steerResult(answer), doses(this.lab.store.now.history, question));
  }
}

function wide(field: HTMLElement): HTMLElement {
  field.classList.add("lab-wide");
  return field;
}
