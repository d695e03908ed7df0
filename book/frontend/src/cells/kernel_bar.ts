// Owns the page's status line: what the kernel does, Run all, and the way out when it died. It decides nothing.

import { el, icon } from "../dom";
import { withCode } from "./notice";
import { kernelLabel, type KernelState } from "./states";

export interface BarActions {
  runAll(): void;
  interrupt(): void;
  newKernel(): void;
}

export class KernelBar {
  readonly element: HTMLElement;
  readonly #words = el("span", { class: "tl-kernel-words" });
  readonly #runAll: HTMLButtonElement;
  readonly #interrupt: HTMLButtonElement;
  readonly #newKernel: HTMLButtonElement;

  constructor(actions: BarActions, isOffline: boolean, signal: AbortSignal) {
    this.#runAll = button("Run all", "run", actions.runAll, signal);
    this.#interrupt = button("Interrupt", "stop", actions.interrupt, signal);
    this.#newKernel = button("Start a new kernel", "reset", actions.newKernel, signal);
    this.element = el(
      "div",
      { class: "tl-kernel-bar", role: "group", "aria-label": "Kernel" },
      el("span", { class: "tl-dot", "aria-hidden": "true" }),
      this.#words,
      this.#runAll,
      this.#interrupt,
      this.#newKernel,
    );
    this.show({ kind: "idle" });
    if (!isOffline) return;
    this.#words.textContent = "Offline copy: stored outputs.";
    this.#runAll.hidden = true;
  }

  show(state: KernelState): void {
    this.element.dataset["kernel"] = state.kind;
    document.body.dataset["kernel"] = state.kind;
    // Cells announce their own runs; the line speaks up only for what concerns the whole page.
    this.#words.setAttribute("aria-live", state.kind === "ready" || state.kind === "busy" ? "off" : "polite");
    this.#words.replaceChildren(...withCode(kernelLabel(state)));
    const isLost = state.kind === "dead" || state.kind === "failed";
    this.#runAll.hidden = isLost || state.kind === "busy";
    this.#interrupt.hidden = state.kind !== "busy";
    this.#newKernel.hidden = !isLost;
  }
}

function button(words: string, picture: "run" | "stop" | "reset", press: () => void, signal: AbortSignal): HTMLButtonElement {
  const element = el("button", { type: "button", class: "tl-button" }, icon(picture), words);
  element.addEventListener("click", press, { signal });
  return element;
}
