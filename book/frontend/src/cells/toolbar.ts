// Owns a cell's row of buttons and its badge. It decides nothing: every press is handed on.

import { el, icon, type IconName } from "../dom";

export interface ToolbarActions {
  run(): void;
  interrupt(): void;
  reset(): void;
  edit(): void;
  /** The reader is about to press Run. */
  expectRun(): void;
}

export class Toolbar {
  readonly element: HTMLElement;
  readonly run: HTMLButtonElement;
  readonly interrupt: HTMLButtonElement;
  readonly reset: HTMLButtonElement;
  readonly edit: HTMLButtonElement;
  readonly #badge = el("span", { class: "tl-badge", role: "status", "aria-live": "polite" });

  constructor(cellNumber: number, actions: ToolbarActions, signal: AbortSignal) {
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
    this.edit = button("Edit", "edit", actions.edit);
    this.reset = button("Reset", "reset", actions.reset);
    this.interrupt.hidden = true;
    this.reset.hidden = true;
    this.run.addEventListener("pointerenter", actions.expectRun, { signal, once: true });
    this.run.addEventListener("focus", actions.expectRun, { signal, once: true });
    this.element = el(
      "div",
      { class: "tl-toolbar", role: "group", "aria-label": `Cell ${cellNumber}` },
      this.run,
      this.interrupt,
      this.edit,
      this.reset,
      this.#badge,
    );
  }

  say(words: string): void {
    if (this.#badge.textContent !== words) this.#badge.textContent = words;
  }
}
