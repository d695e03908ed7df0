// Owns the mode that scores every head for what it looks at: the map of a kind, the sorted list, and the way to a head.

import { el } from "../../dom";
import type { LabHost, LabMode } from "../app_contract";
import type { HeadsAnswer } from "../contract";
import type { HeatMap } from "../drawing/pictures";
import { plain } from "../drawing/words";
import { button } from "./asking";
import { Bench } from "./bench";
import { HEAD_THRESHOLD } from "./forecasts";
import { step, terms } from "./layout";
import { headsMap } from "./maps";
import { headName } from "./part_names";
import { choiceRow } from "./part_picker";
import { counted } from "./sentences";
import { strongestCells } from "./strongest";

const SAYS: Readonly<Record<string, string>> = {
  "previous token": "Looks at the token just before.",
  "duplicate token": "Looks at an earlier occurrence of the same token.",
  induction: "Looks at what came after the earlier occurrence of the same token: it continues a repetition.",
  "first token": "Looks at the very first token, mostly as a place to rest.",
};

export const heads: LabMode = {
  name: "heads",
  title: "Heads",
  hint: "Score every head for what it looks at, and find the induction heads.",
  picks: "one",
  mount: (place, lab, signal) => new HeadsMode(lab, signal).mount(place),
};

export interface Scored {
  readonly layer: number;
  readonly head: number;
  readonly score: number;
}

/** The heads at or above a threshold, the highest first. */
export function headsAbove(scores: readonly (readonly number[])[], threshold: number): readonly Scored[] {
  const all = strongestCells(scores, Infinity).map(({ row, column, value }) => ({ layer: row, head: column, score: value }));
  return all.filter(({ score }) => score >= threshold);
}

class HeadsMode {
  #kind = "induction";
  #threshold = HEAD_THRESHOLD;
  #map: HeatMap | null = null;
  readonly #bench: Bench<"heads">;
  readonly #list = el("div", { class: "lab-head-list", "data-tour": "head-list" });

  constructor(private readonly lab: LabHost, private readonly signal: AbortSignal) {
    this.#bench = new Bench<"heads">(
      {
        ask: "heads",
        verb: "Score all heads",
        question: () => ({ ask: "heads", ...lab.asked() }),
        draw: (place, answer) => this.#draw(place, answer),
        said: (answer) => this.#counted(answer),
        stored: () => [],
      },
      lab,
      signal,
    );
  }

  mount(place: HTMLElement): void {
    place.append(step(1, "Predict", this.#bench.predicting, terms(this.lab, "induction head", "previous-token head", "duplicate-token head", "attention pattern")), el("div", { class: "lab-right lab-columns-one" }, step(2, "Compare", this.#bench.outcome)));
  }

  #counted(answer: HeadsAnswer): string {
    const found = headsAbove(answer.scores[this.#kind] ?? [], this.#threshold);
    return `${counted(found.length, `${this.#kind} head`)} with a score of ${plain(this.#threshold)} or more.`;
  }

  #draw(place: HTMLElement, answer: HeadsAnswer): void {
    const kinds = Object.keys(answer.scores);
    if (!kinds.includes(this.#kind)) this.#kind = kinds[0] ?? "";
    const board = el("div", {});
    const show = (): void => this.#show(board, answer);
    const choose = choiceRow("Kind", kinds.map((value) => ({ value, words: value, says: SAYS[value] ?? "" })), this.#kind, (value) => {
      this.#kind = value;
      show();
    }, this.signal);
    place.append(choose, this.#thresholdSlider(answer), board);
    show();
  }

  #thresholdSlider(answer: HeadsAnswer): HTMLElement {
    const input = el("input", { type: "range", min: "0", max: "1", step: "0.05", "data-tour": "threshold" });
    input.value = String(this.#threshold);
    const shown = el("output", {}, plain(this.#threshold));
    input.addEventListener("input", () => {
      this.#threshold = Number(input.value);
      shown.textContent = plain(this.#threshold);
      this.#fillList(answer);
    }, { signal: this.signal });
    return el("label", { class: "lab-slider" }, el("span", {}, "list heads with at least this score"), input, shown);
  }

  #show(board: HTMLElement, answer: HeadsAnswer): void {
    const scores = answer.scores[this.#kind] ?? [];
    this.lab.mark({ legend: `Score of each head: ${this.#kind}`, scale: "sequential", most: 1, heads: scores, unit: "score" });
    this.#map = headsMap(
      { title: `Score of each head: ${this.#kind}`, summary: "From 0, not at all, to 1, nothing but that.", onPick: (layer, head) => this.#look(layer, head) },
      scores, "sequential", 1, this.signal,
    );
    const beside = el("div", { class: "lab-map-beside" }, this.#map.element, this.#list);
    beside.style.setProperty("--lab-columns", String(scores[0]?.length ?? 1));
    board.replaceChildren(beside);
    this.#fillList(answer);
  }

  #fillList(answer: HeadsAnswer): void {
    const found = headsAbove(answer.scores[this.#kind] ?? [], this.#threshold);
    const rows = found.slice(0, 40).map(({ layer, head, score }) => {
      const look = button(headName(layer, head), () => this.#look(layer, head), this.signal);
      look.classList.add("lab-pick");
      const off = button("turn off", () => this.#turnOff(layer, head), this.signal);
      off.setAttribute("aria-label", `turn off ${headName(layer, head)}, in Ablate`);
      return el("tr", {}, el("th", { scope: "row" }, look), el("td", { class: "lab-number" }, plain(score)), el("td", {}, off));
    });
    const more = found.length > 40 ? [el("p", { class: "lab-soft" }, `and ${found.length - 40} more`)] : [];
    const head = el("tr", {}, ...["head", "score", "next"].map((words) => el("th", { scope: "col" }, words)));
    this.#list.replaceChildren(el("h5", {}, this.#counted(answer)), el("table", { class: "lab-numbers" }, el("thead", {}, head), el("tbody", {}, ...rows)), ...more);
  }

  /** The shell shows the chosen part in its component view. */
  #look(layer: number, head: number): void {
    this.#map?.choose({ row: layer, column: head });
    this.lab.select({ parts: [headName(layer, head)] });
    this.lab.announce(`${headName(layer, head)} is chosen; its picture is above.`);
  }

  #turnOff(layer: number, head: number): void {
    this.lab.setMode("ablate");
    this.lab.select({ parts: [headName(layer, head)] });
  }
}
