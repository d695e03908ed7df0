// Owns the prediction at the chosen position: the likeliest next tokens as bars with numbers, and which run says so.

import { el } from "../../dom";
import { guessBars } from "../drawing/guess_bars";
import { runBadge } from "../drawing/run_badge";
import { visible } from "../drawing/words";
import type { Lab } from "../host";

export class Prediction {
  readonly #head = el("h3", { class: "lab-h" });
  readonly #place = el("div", {});
  readonly element = el("aside", { class: "lab-prediction", "aria-label": "Prediction" }, this.#head, runBadge("clean"), this.#place);

  constructor(private readonly lab: Lab, signal: AbortSignal) {
    lab.store.subscribe((now, before) => {
      if (now.selection.position !== before.selection.position || now.baseline !== before.baseline) this.#show();
    }, signal);
  }

  #show(): void {
    const { baseline, selection } = this.lab.store.now;
    const guesses = baseline?.answer.next[selection.position];
    if (!baseline || !guesses) return;
    const token = visible(baseline.answer.tokens[selection.position]?.text ?? "");
    this.#head.replaceChildren("Next, after ", el("code", { class: "lab-token" }, token));
    this.#place.replaceChildren(guessBars(guesses, { name: `Likeliest next tokens after ${token}` }));
  }
}
