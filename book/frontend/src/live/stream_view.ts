// Owns one run of standard output or error. It redraws at a human pace, however fast the cell prints.

import { el } from "../dom";
import { ansiNodes, settle, shorten } from "./terminal_text";

const PACE_MS = 40;

export class StreamView {
  readonly element: HTMLElement;
  #text = "";
  #timer: ReturnType<typeof setTimeout> | null = null;
  #drawnAt_ms = Number.NEGATIVE_INFINITY;

  constructor(readonly name: "stdout" | "stderr", signal: AbortSignal) {
    this.element = el("pre", { class: `tl-stream tl-${name}`, tabindex: "0" });
    signal.addEventListener("abort", () => this.#stopTimer());
  }

  write(text: string): void {
    this.#text += text;
    if (this.#timer !== null) return;
    const wait_ms = this.#drawnAt_ms + PACE_MS - performance.now();
    if (wait_ms <= 0) this.flush();
    else this.#timer = setTimeout(() => this.flush(), wait_ms);
  }

  flush(): void {
    this.#stopTimer();
    this.#drawnAt_ms = performance.now();
    this.#text = shorten(settle(this.#text));
    this.element.replaceChildren(...ansiNodes(this.#text));
  }

  #stopTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
