// Owns the mode that turns parts off: what is off, how, what came of it, and the map of what each head would do.

import { el } from "../../dom";
import type { LabHost, LabMode } from "../app_contract";
import type { AblateAnswer, AblationMethod, HeadMapAnswer } from "../contract";
import { heatMap, type HeatMap } from "../drawing/pictures";
import { signed, visible } from "../drawing/words";
import { button, storedChoices } from "./asking";
import { beforeAfter, controlStrip } from "./before_after";
import { Bench, type AskedIn } from "./bench";
import { columns, picture, step, terms } from "./layout";
import { headName, toggled } from "./part_names";
import { chips, choiceRow, partPicker } from "./part_picker";
import { factsOf, headLabels, lastAsked, layerLabels } from "./run_facts";
import { listed, quoted, resultText } from "./sentences";
import { shareKnown, SideQuestion } from "./side_question";
import { StrongestCells } from "./strongest";

const METHODS: readonly { readonly value: AblationMethod; readonly words: string; readonly says: string }[] = [
  { value: "zero", words: "zero", says: "What the part writes is replaced by nothing. Simple, and the harshest: the model never saw nothing there." },
  { value: "mean", words: "mean", says: "It is replaced by its average over other texts: what it always says stays, what it says here goes." },
  { value: "resample", words: "resample", says: "It is replaced by what it writes on another text, drawn at random: it speaks, about something else." },
];

export const ablate: LabMode = {
  name: "ablate",
  title: "Ablate",
  hint: "Turn parts off and see what the prediction loses. Click heads, MLPs or layers in the picture, or choose them here.",
  picks: "many",
  mount: (place, lab, signal) => new AblateMode(lab, signal).mount(place),
};

class AblateMode {
  #method: AblationMethod;
  #seed: number;
  readonly #bench: Bench<"ablate">;
  readonly #map: HeadMap;

  constructor(private readonly lab: LabHost, private readonly signal: AbortSignal) {
    const last = lastAsked(lab.store.now, "ablate") ?? lastAsked(lab.store.now, "head_map");
    this.#method = last?.method ?? "zero";
    this.#seed = last?.seed ?? 0;
    this.#bench = new Bench<"ablate">(
      {
        ask: "ablate",
        verb: "Turn off and compare",
        question: () => this.#question(),
        draw: (place, answer, question) => this.#draw(place, answer, question),
        said: (answer) => resultText(answer),
        stored: () => storedChoices(lab, "ablate", ({ parts, method }) => `${listed(parts)} (${method})`, (question) => this.#take(question), signal),
      },
      lab,
      signal,
    );
    this.#map = new HeadMap(lab, () => ({ method: this.#method, seed: this.#seed }), (part) => this.#pick(part), signal);
    lab.store.subscribe((now, before) => {
      if (now.selection.parts !== before.selection.parts) this.#bench.refresh();
    }, signal);
  }

  mount(place: HTMLElement): void {
    const { lab, signal } = this;
    const method = choiceRow("Replace it by", METHODS, this.#method, (value) => this.#setMethod(value), signal);
    const redraw = button("Another draw", () => this.#redraw(), signal);
    redraw.title = "Resample from other texts: the seed goes up by one";
    const choose = step(
      1, "Choose what to turn off",
      chips(lab, "Nothing yet: click in the picture above.", signal),
      partPicker(lab, "Add", (part) => lab.select({ parts: toggled(lab.store.now.selection.parts.filter((each) => each !== part), part) }), signal),
      method,
      el("div", { class: "lab-row lab-resample" }, redraw),
      terms(lab, "ablation", "zero ablation", "mean ablation", "resample ablation", "logit", "KL divergence"),
    );
    place.dataset["method"] = this.#method;
    this.#placeOf = place;
    place.append(columns([choose, step(2, "Predict", this.#bench.predicting)], [step(3, "Compare", this.#bench.outcome)]), this.#map.element);
  }

  #placeOf: HTMLElement | null = null;

  #question(): AskedIn<"ablate"> | string {
    const { parts } = this.lab.store.now.selection;
    if (parts.length === 0) return "Choose at least one part first: a click in the picture, a cell of the map below, or the fields above.";
    return { ask: "ablate", ...this.lab.asked(), parts, method: this.#method, seed: this.#seed };
  }

  #setMethod(method: AblationMethod): void {
    this.#method = method;
    if (this.#placeOf) this.#placeOf.dataset["method"] = method;
    this.#bench.refresh();
    this.#map.recall();
  }

  #redraw(): void {
    this.#seed += 1;
    this.#bench.refresh();
    this.lab.announce(`Draw ${this.#seed}.`);
  }

  #pick(part: string): void {
    this.lab.select({ parts: [part] });
    void this.#bench.quick();
  }

  #take(question: AskedIn<"ablate">): void {
    this.#method = question.method;
    this.#seed = question.seed;
    this.lab.select({ parts: question.parts });
    this.#bench.refresh();
  }

  #draw(place: HTMLElement, answer: AblateAnswer, question: AskedIn<"ablate">): void {
    this.lab.change({ parts: question.parts, word: "off" });
    const off = `${listed(question.parts)} off`;
    const kind = question.parts.length === 1 ? "a random other part of the same kind off" : "as many random other parts of the same kinds off";
    place.append(
      beforeAfter(answer, { before: "clean run", after: `patched run: ${off}` }),
      controlStrip(answer, answer.controls, kind),
      this.#everyPosition(answer),
    );
  }

  /** What became of the guess after each token of the prompt. */
  #everyPosition(answer: AblateAnswer): HTMLElement {
    const { baseline } = this.lab.store.now;
    const tokens = baseline?.answer.tokens ?? [];
    const rows = tokens.map((token, position) => {
      const [before, after] = [baseline?.answer.next[position]?.[0], answer.next[position]];
      const isOther = before?.id !== after?.id;
      const cells = [before, after].map((guess) => el("td", {}, el("code", { class: "lab-token" }, guess ? visible(guess.token) : "–")));
      return el("tr", isOther ? { "data-changed": true } : {}, el("th", { scope: "row" }, el("code", {}, visible(token.text))), ...cells, el("td", {}, isOther ? "≠ changed" : "same"));
    });
    const others = rows.filter((row) => row.dataset["changed"] !== undefined).length;
    const head = el("tr", {}, ...["after", "before", "now", "compared"].map((words) => el("th", { scope: "col" }, words)));
    const table = el("table", { class: "lab-numbers" }, el("thead", {}, head), el("tbody", {}, ...rows));
    return el("details", { class: "lab-more" }, el("summary", {}, `The first guess after every token: ${others === 0 ? "none" : others} changed`), table);
  }
}

/** The map of the whole model: what the answer's logit does when each head alone is off. */
class HeadMap {
  readonly element: HTMLElement;
  readonly #side: SideQuestion<"head_map">;
  readonly #place = el("div", { class: "lab-map-beside", "data-tour": "head-map" });
  readonly #strongest: StrongestCells;
  #map: HeatMap | null = null;

  constructor(
    private readonly lab: LabHost,
    private readonly how: () => { readonly method: AblationMethod; readonly seed: number },
    private readonly onPick: (part: string) => void,
    private readonly signal: AbortSignal,
  ) {
    const { n_layers, n_heads } = factsOf(lab);
    this.#strongest = new StrongestCells("Strongest", headName, (value) => signed(value), (layer, head) => onPick(headName(layer, head)), signal);
    this.#side = new SideQuestion<"head_map">(
      { lab, words: `Turning off ${n_layers * n_heads} heads, one at a time`, progress: ({ effect }) => shareKnown(effect), draw: (answer) => this.#draw(answer) },
      signal,
    );
    const run = button(`Measure all ${n_layers * n_heads} heads`, () => void this.#side.ask(this.#question()), signal);
    run.dataset["tour"] = "map-run";
    this.element = picture("Every head at once", "Each cell: how the answer's logit changes when this one head is off. Click a cell to look at it.", el("div", { class: "lab-row" }, run), this.#side.element, this.#place);
    this.recall();
  }

  /** The map for the method that is chosen now, if it has been measured. */
  recall(): void {
    if (this.#side.isAsking) this.#side.cancel();
    const question = this.#question();
    if (this.#side.recall(question)) return;
    this.#place.replaceChildren();
    this.#map = null;
    this.lab.mark(null);
    if (this.lab.whoCan(question) === "frozen") void this.#side.show(question);
  }

  #question(): AskedIn<"head_map"> {
    return { ask: "head_map", ...this.lab.asked(), ...this.how() };
  }

  #draw(answer: HeadMapAnswer): void {
    const { n_layers, n_heads } = factsOf(this.lab);
    const most = largest(answer.effect);
    this.lab.mark({ legend: `Change of the logit of ${quoted(answer.token)} when the head is off`, scale: "diverging", most, heads: answer.effect, unit: "logit" });
    this.#strongest.show(answer.effect);
    if (this.#map) return this.#map.update(answer.effect, most);
    this.#map = heatMap(
      {
        title: `What each head does for ${visible(answer.token)}`,
        summary: "Blue and minus: the answer loses when the head is off. Red and plus: it gains.",
        rowTitle: "layer", columnTitle: "head", rows: layerLabels(n_layers), columns: headLabels(n_heads),
        values: answer.effect, scale: "diverging", most, write: (value) => signed(value),
        onPick: (layer, head) => this.onPick(headName(layer, head)),
      },
      this.signal,
    );
    this.#place.replaceChildren(this.#map.element, this.#strongest.element);
  }
}

function largest(effect: readonly (readonly (number | null)[])[]): number {
  return Math.max(0.01, ...effect.flat().map((value) => Math.abs(value ?? 0)));
}
