// Owns the page's status line: what the kernel does, Run all, and the way out when it died. It decides nothing.

import { el, icon, type Child } from "../dom";
import { withCode } from "./notice";
import { PageMenu, type MenuActions } from "./page_menu";
import { kernelLabel, type KernelState, type Progress } from "./states";

export interface BarActions extends MenuActions {
  runAll(): void;
  interrupt(): void;
  /** Tell the service that the kernel is still wanted. */
  stay(): void;
}

export class KernelBar {
  readonly element: HTMLElement;
  readonly #words = el("span", { class: "tl-kernel-words", role: "status" });
  readonly #aside = el("div", { class: "tl-kernel-aside", role: "status" });
  readonly #runAll: HTMLButtonElement;
  readonly #interrupt: HTMLButtonElement;
  readonly #restart: HTMLButtonElement;
  readonly #newKernel: HTMLButtonElement;
  readonly #menu: PageMenu;
  #state: KernelState = { kind: "idle" };
  #progress: Progress | null = null;
  #target: string | null = null;

  constructor(
    private readonly actions: BarActions,
    private readonly isOffline: boolean,
    isKept: boolean,
    private readonly signal: AbortSignal,
  ) {
    this.#runAll = this.#button("Run all", actions.runAll, "run");
    this.#interrupt = this.#button("Interrupt", actions.interrupt, "stop");
    this.#restart = this.#button("Restart and run all above", actions.restartAbove, "reset");
    this.#newKernel = this.#button("Start a new kernel", actions.newKernel);
    this.#menu = new PageMenu(actions, isOffline, isKept, signal);
    this.element = el(
      "div",
      { class: "tl-kernel-bar", role: "group", "aria-label": "Kernel" },
      el("span", { class: "tl-dot", "aria-hidden": "true" }),
      this.#words,
      this.#runAll,
      this.#interrupt,
      this.#restart,
      this.#newKernel,
      this.#menu.element,
      this.#aside,
    );
    this.#draw();
  }

  show(state: KernelState): void {
    this.#state = state;
    this.#draw();
  }

  /** How far a press that runs several cells has come. */
  progress(progress: Progress | null): void {
    this.#progress = progress;
    this.#draw();
  }

  /** The cell up to which a restart would run; null when nothing has run. */
  aim(target: string | null): void {
    this.#target = target;
    this.#draw();
  }

  /** A word beside the state, which stays until the next one. */
  say(words: string | null): void {
    this.#put(words === null ? [] : [el("p", {}, words), this.#button("Close", () => this.#put([]))]);
  }

  warnIdle(words: string | null): void {
    const isShown = this.#aside.dataset["kind"] === "idle";
    if (words === null) return isShown ? this.#put([]) : undefined;
    if (isShown) this.#aside.querySelector("p")?.replaceChildren(words);
    else this.#put([el("p", {}, words), this.#button("Keep it", this.actions.stay)], "idle");
  }

  /** Ask once before what cannot be brought back. */
  confirm(question: string, yes: string, act: () => void): void {
    const away = (): void => this.#put([]);
    const no = this.#button("Cancel", away);
    const sure = this.#button(yes, () => (away(), act()));
    this.#put([el("p", {}, question), sure, no]);
    no.focus();
  }

  #put(children: Child[], kind = ""): void {
    this.#aside.dataset["kind"] = kind;
    this.#aside.replaceChildren(...children);
  }

  #draw(): void {
    const { kind } = this.#state;
    this.element.dataset["kernel"] = kind;
    document.body.dataset["kernel"] = kind;
    // Cells announce their own runs; the line speaks up only for what concerns the whole page.
    this.#words.setAttribute("aria-live", kind === "ready" || kind === "busy" ? "off" : "polite");
    const words = this.isOffline ? "Offline copy: stored outputs." : kernelLabel(this.#state, this.#progress);
    if (this.#words.textContent !== words) this.#words.replaceChildren(...withCode(words));
    const isLost = kind === "dead" || kind === "failed";
    this.#runAll.hidden = this.isOffline || isLost || kind === "busy" || kind === "waiting" || this.#progress !== null;
    this.#interrupt.hidden = kind !== "busy" && kind !== "waiting" && this.#progress === null;
    this.#restart.hidden = !isLost || this.#target === null;
    this.#newKernel.hidden = !isLost;
    this.#menu.show(isLost || kind === "idle" ? null : this.#target);
  }

  #button(words: string, press: () => void, picture?: "run" | "stop" | "reset"): HTMLButtonElement {
    const element = el("button", { type: "button", class: "tl-button" }, ...(picture ? [icon(picture)] : []), words);
    element.addEventListener("click", press, { signal: this.signal });
    return element;
  }
}
