// Owns the legend of the pipeline's colours: what they say, with the numbers at their ends.

import { el } from "../../dom";
import type { Marks } from "../app_contract";
import { plain } from "../drawing/words";

export class Legend {
  readonly #words = el("span", { class: "lab-legend-words" });
  readonly #least = el("span", {});
  readonly #most = el("span", {});
  readonly #scale = el("span", { class: "lab-legend-scale", "aria-hidden": "true" });
  readonly element = el("span", { class: "lab-legend" }, this.#words, el("span", { class: "lab-legend-row" }, this.#least, this.#scale, this.#most));

  show({ legend, scale, most, unit }: Marks): void {
    this.#words.textContent = legend;
    this.#scale.dataset["scale"] = scale;
    this.#least.textContent = scale === "diverging" ? plain(-most, 1) : "0";
    this.#most.textContent = `${scale === "diverging" ? "+" : ""}${plain(most, 1)} ${unit}`;
  }
}
