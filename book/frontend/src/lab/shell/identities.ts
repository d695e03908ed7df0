// Owns the panel that is always on: what must hold if these numbers are right, and whether it does.

import { el } from "../../dom";
import { isSameRun } from "../app_contract";
import type { Identity } from "../contract";
import { short } from "../drawing/words";
import type { Lab } from "../host";

export class Identities {
  readonly #list = el("ul", { class: "lab-identity-list" });
  readonly element = el("section", { class: "lab-identities", "aria-label": "Checks of this run" }, el("h3", { class: "lab-h" }, "What must hold"), this.#list);
  #ofRun: readonly Identity[] | null = null;
  #ofPicture: readonly Identity[] = [];
  #asking = new AbortController();

  constructor(private readonly lab: Lab, signal: AbortSignal) {
    lab.store.subscribe((now, before) => {
      if (!isSameRun(now.baseline, before.baseline)) void this.#ask();
      if (now.mode !== before.mode) this.show([]);
    }, signal);
    signal.addEventListener("abort", () => this.#asking.abort());
  }

  /** Identities of what is being looked at, beside those of the run. */
  show(identities: readonly Identity[]): void {
    this.#ofPicture = identities;
    this.#draw("");
  }

  async #ask(): Promise<void> {
    this.#asking.abort();
    const asking = new AbortController();
    this.#asking = asking;
    this.#ofRun = null;
    this.#ofPicture = [];
    this.#draw("being checked");
    try {
      const { identities } = await this.lab.ask({ ask: "identities", ...this.lab.asked() }, asking.signal);
      if (asking.signal.aborted) return;
      this.#ofRun = identities;
      this.#draw("");
    } catch {
      if (!asking.signal.aborted) this.#draw("not checked: this needs a kernel");
    }
  }

  #draw(instead: string): void {
    const known = new Map([...(this.#ofRun ?? []), ...this.#ofPicture].map((identity) => [identity.name, identity]));
    const items = [...known.values()].map(item);
    if (instead) items.push(el("li", { "data-holds": "unknown" }, `The run's identities: ${instead}.`));
    this.#list.replaceChildren(...items);
  }
}

function item({ name, error, bound, holds }: Identity): HTMLElement {
  const verdict = holds ? "holds" : "fails";
  const numbers = el("span", { class: "lab-number" }, `off by ${short(error)}, at most ${short(bound)}`);
  return el("li", { "data-holds": String(holds) }, el("span", { class: "lab-holds" }, holds ? "✓ " : "✗ ", verdict), el("span", {}, name), numbers);
}
