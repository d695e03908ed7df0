// Owns the prompt as chips: each token, what the model expects after it, and how sure it is. A chip chooses the position.

import { el } from "../../dom";
import type { OpenAnswer } from "../contract";
import type { Lab } from "../host";
import { percent, visible } from "../drawing/words";

export class Tokens {
  readonly element = el("div", { class: "lab-tokens", role: "radiogroup", "aria-label": "Tokens of the prompt: choose a position" });
  #chips: HTMLButtonElement[] = [];

  constructor(private readonly lab: Lab, signal: AbortSignal) {
    this.element.addEventListener("keydown", (event) => this.#key(event), { signal });
    this.element.addEventListener("click", (event) => this.#click(event), { signal });
    lab.store.subscribe((now, before) => {
      if (now.baseline !== before.baseline && now.baseline) this.#fill(now.baseline.answer);
      if (now.selection !== before.selection || now.baseline !== before.baseline) this.#choose(now.selection.position);
    }, signal);
  }

  #fill(run: OpenAnswer): void {
    this.#chips = run.tokens.map((token, position) => {
      const next = run.next[position]?.[0];
      const bar = el("span", { class: "lab-position-bar", "aria-hidden": "true" });
      bar.style.setProperty("--p", String(next?.p ?? 0));
      const says = `position ${position}, then ${visible(next?.token ?? "")} with ${percent(next?.p ?? 0)}`;
      return el("button", { type: "button", class: "lab-position", role: "radio", "data-position": String(position), "aria-label": `${visible(token.text)}: ${says}`, title: `Token ${position}, id ${token.id}` },
        el("code", { class: "lab-token" }, visible(token.text)),
        el("span", { class: "lab-position-next" }, "→ ", el("code", {}, visible(next?.token ?? "")), ` ${percent(next?.p ?? 0)}`),
        bar);
    });
    this.element.replaceChildren(...this.#chips);
  }

  #choose(position: number): void {
    this.#chips.forEach((chip, index) => {
      chip.setAttribute("aria-checked", String(index === position));
      chip.tabIndex = index === position ? 0 : -1;
    });
    const chip = this.#chips[position];
    if (chip) this.#bringIntoSight(chip);
    if (this.element.contains(document.activeElement)) chip?.focus({ preventScroll: true });
  }

  /** Only the strip itself moves, never the page. */
  #bringIntoSight(chip: HTMLElement): void {
    const [box, own] = [this.element.getBoundingClientRect(), chip.getBoundingClientRect()];
    if (own.left < box.left || own.right > box.right) this.element.scrollLeft += own.left - box.left - box.width / 2;
    if (own.top < box.top || own.bottom > box.bottom) this.element.scrollTop += own.top - box.top - box.height / 2;
  }

  #click(event: Event): void {
    const chip = event.target instanceof Element ? event.target.closest<HTMLElement>("[data-position]") : null;
    if (chip) this.lab.select({ position: Number(chip.dataset["position"]) });
  }

  #key(event: KeyboardEvent): void {
    const steps: Record<string, number> = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    if (step === undefined || !this.element.contains(document.activeElement)) return;
    event.preventDefault();
    const { position } = this.lab.store.now.selection;
    this.lab.select({ position: Math.min(this.#chips.length - 1, Math.max(0, position + step)) });
  }
}
