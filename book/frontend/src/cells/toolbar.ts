// Owns a cell's row of buttons, its badge and its clock. It decides nothing: every press is handed on.

import { el, icon, type IconName } from "../dom";
import { duration } from "./states";

export interface ToolbarActions {
  run(): void;
  runAbove(): void;
  interrupt(): void;
  reset(): void;
  edit(): void;
  /** The reader is about to press Run. */
  expectRun(): void;
}

export class Toolbar {
  readonly element: HTMLElement;
  readonly run: HTMLButtonElement;
  readonly runAbove: HTMLButtonElement;
  readonly interrupt: HTMLButtonElement;
  readonly reset: HTMLButtonElement;
  readonly edit: HTMLButtonElement;
  readonly edited = el("span", { class: "tl-edited", hidden: true }, "edited");
  readonly #badge = el("span", { class: "tl-badge", role: "status", "aria-live": "polite" });
  /** Outside the badge: a listener must not hear every second. */
  readonly #clock = el("span", { class: "tl-clock" });
  readonly #place = el("span", { class: "tl-place" });
  readonly #count = el("span", { class: "tl-count", title: "how many runs this kernel had made" });
  #ticking: ReturnType<typeof setInterval> | undefined;

  constructor(cellNumber: number, actions: ToolbarActions, private readonly signal: AbortSignal) {
    const button = (words: string, picture: IconName, press: () => void, kind = ""): HTMLButtonElement => {
      const element = el(
        "button",
        { type: "button", class: `tl-button ${kind}`.trim() },
        icon(picture),
        words,
        el("span", { class: "tl-hidden" }, ` cell ${cellNumber}`),
      );
      element.addEventListener("click", press, { signal });
      return element;
    };
    this.run = button("Run", "run", actions.run, "tl-primary");
    this.interrupt = button("Interrupt", "stop", actions.interrupt);
    this.runAbove = button("Run all above", "above", actions.runAbove, "tl-quiet");
    this.runAbove.lastElementChild?.replaceChildren(` and cell ${cellNumber}`);
    this.edit = button("Edit", "edit", actions.edit, "tl-quiet");
    this.reset = button("Reset", "reset", actions.reset, "tl-quiet");
    this.interrupt.hidden = true;
    this.reset.hidden = true;
    for (const each of [this.run, this.runAbove]) {
      each.addEventListener("pointerenter", actions.expectRun, { signal, once: true });
      each.addEventListener("focus", actions.expectRun, { signal, once: true });
    }
    const state = el("span", { class: "tl-cell-state" }, this.edited, this.#badge, this.#place, this.#count, this.#clock);
    this.element = el(
      "div",
      { class: "tl-toolbar" },
      this.run,
      this.interrupt,
      this.runAbove,
      this.edit,
      this.reset,
      state,
    );
    signal.addEventListener("abort", () => clearInterval(this.#ticking));
  }

  /** @param place how long a queued cell still waits. */
  say(words: string, place: string): void {
    if (this.#badge.textContent !== words) this.#badge.textContent = words;
    this.#place.textContent = place;
  }

  /** The number of the run in the kernel, as notebooks write it. */
  count(execution: number | null): void {
    this.#count.textContent = execution === null ? "" : `[${execution}]`;
  }

  /** Let the clock run, from the first full second on. */
  startClock(): void {
    const from_ms = performance.now();
    this.stopClock(null);
    if (this.signal.aborted) return;
    this.#ticking = setInterval(() => {
      this.#clock.textContent = duration(Math.floor((performance.now() - from_ms) / 1000) * 1000).replace(".0", "");
    }, 1000);
  }

  /** Stop it at a final time, or empty. */
  stopClock(elapsed_ms: number | null): void {
    clearInterval(this.#ticking);
    this.#clock.textContent = elapsed_ms === null ? "" : duration(elapsed_ms);
  }
}
