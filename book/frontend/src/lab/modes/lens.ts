// Owns the mode that reads the stream after each layer as if it were the last: the table of words, and a token's way up.

import { el } from "../../dom";
import type { LabHost, LabMode } from "../app_contract";
import type { LensAnswer } from "../contract";
import { percent, visible } from "../drawing/words";
import { storedChoices } from "./asking";
import { Bench, type AskedIn } from "./bench";
import { rankCurve } from "./curve";
import { settledAt } from "./forecasts";
import { step, terms } from "./layout";
import { lensMap, streamLabels } from "./maps";
import { choiceRow } from "./part_picker";
import { lastAsked } from "./run_facts";
import { quoted } from "./sentences";

type Kind = LensAnswer["kind"];

const KINDS: readonly { readonly value: Kind; readonly words: string; readonly says: string }[] = [
  { value: "logit", words: "logit lens", says: "The model's own last norm and unembedding, used early. It needs no training, and early layers may speak another language." },
  { value: "tuned", words: "tuned lens", says: "A small translator for each layer, trained to find the end early. It reads earlier, and may say what the model does not use yet." },
];

export const lens: LabMode = {
  name: "lens",
  title: "Lens",
  hint: "Read what each layer would say if it were the last.",
  picks: "one",
  mount: (place, lab, signal) => new LensMode(lab, signal).mount(place),
};

class LensMode {
  #kind: Kind;
  readonly #bench: Bench<"lens">;

  constructor(private readonly lab: LabHost, private readonly signal: AbortSignal) {
    this.#kind = lastAsked(lab.store.now, "lens")?.kind ?? "logit";
    this.#bench = new Bench<"lens">(
      {
        ask: "lens",
        verb: "Read every layer",
        question: () => ({ ask: "lens", ...this.lab.asked(), kind: this.#kind }),
        draw: (place, answer) => this.#draw(place, answer),
        said: (answer) => settledText(answer),
        stored: () => storedChoices(lab, "lens", ({ kind }) => `${kind} lens`, (question) => this.#take(question), signal),
      },
      lab,
      signal,
    );
  }

  mount(place: HTMLElement): void {
    const kinds = choiceRow("Read with", KINDS, this.#kind, (value) => {
      this.#kind = value;
      this.#bench.refresh();
    }, this.signal);
    place.append(
      el("div", { class: "lab-columns lab-over" }, step(1, "Choose a lens", kinds, terms(this.lab, "logit lens", "tuned lens", "residual stream")), step(2, "Predict", this.#bench.predicting)),
      el("div", { class: "lab-right lab-columns-one" }, step(3, "Compare", this.#bench.outcome)),
    );
  }

  #take(question: AskedIn<"lens">): void {
    this.#kind = question.kind;
    void this.#bench.quick();
  }

  #draw(place: HTMLElement, answer: LensAnswer): void {
    const tokens = this.lab.store.now.baseline?.answer.tokens.map(({ text }) => text) ?? [];
    const labels = streamLabels(answer.p.length);
    const cell = el("p", { class: "lab-cell-said", "aria-live": "polite" });
    const map = lensMap(
      {
        title: `What the ${answer.kind} lens reads at each place`,
        summary: "The likeliest next token after each layer and position; the stronger the colour, the surer.",
        onPick: (row, column) => {
          map.choose({ row, column });
          this.lab.select({ position: column });
          cell.textContent = `After ${labels[row] ?? row}, at ${quoted(tokens[column] ?? "")}: ${quoted(answer.token[row]?.[column] ?? "")}, ${percent(answer.p[row]?.[column] ?? NaN)}.`;
        },
      },
      answer, tokens, this.signal,
    );
    const curve = el("div", { class: "lab-beside-map" }, rankCurve(answer.followed_rank, answer.followed_p, visible(answer.followed)), cell);
    place.append(el("p", { class: "lab-lead" }, settledText(answer)), el("div", { class: "lab-lens", "data-tour": "lens-map" }, map.element, curve));
  }
}

/** Where the answer comes first, in one sentence. */
export function settledText(answer: LensAnswer): string {
  const at = settledAt(answer.followed_rank);
  const best = Math.min(...answer.followed_rank);
  if (at === null) return `The lens never ends on ${quoted(answer.followed)}: its best rank is ${best}.`;
  if (at === 0) return `The lens puts ${quoted(answer.followed)} first from the embedding on.`;
  return `The lens puts ${quoted(answer.followed)} first from after layer ${at - 1} on, of ${answer.followed_rank.length - 1} layers.`;
}
