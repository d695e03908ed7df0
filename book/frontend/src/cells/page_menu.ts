// Owns the menu of the status line: what one rarely needs. It decides nothing.

import { el, icon } from "../dom";

export interface MenuActions {
  restartAbove(): void;
  newKernel(): void;
  resetPage(): void;
  downloadNotebook(): void;
  downloadScript(): void;
  keepKernel(isOn: boolean): void;
}

export class PageMenu {
  readonly element = el("details", { class: "tl-menu" });
  readonly #summary = el("summary", { class: "tl-button" }, icon("more"), "More", el("span", { class: "tl-hidden" }, " for this page"));
  readonly #restart: HTMLButtonElement;
  readonly #renew: HTMLButtonElement;
  readonly #keep: HTMLElement;

  constructor(actions: MenuActions, isOffline: boolean, isKept: boolean, private readonly signal: AbortSignal) {
    this.#restart = this.#item("Restart and run all above", actions.restartAbove);
    this.#renew = this.#item("Start a new kernel", actions.newKernel);
    const box = el("input", { type: "checkbox", role: "switch", checked: isKept });
    box.addEventListener("change", () => actions.keepKernel(box.checked), { signal });
    this.#keep = el("label", { class: "tl-menu-item" }, box, "Keep this kernel when I go to the next page");
    const items = [
      this.#restart,
      this.#renew,
      this.#keep,
      this.#item("Reset page", actions.resetPage),
      this.#item("Download as notebook (.ipynb)", actions.downloadNotebook),
      this.#item("Download as script (.py)", actions.downloadScript),
    ];
    if (isOffline) items.splice(0, 3);
    this.element.append(this.#summary, el("div", { class: "tl-menu-items" }, ...items));
    this.element.addEventListener("keydown", (event) => this.#onKey(event), { signal });
    document.addEventListener("pointerdown", (event) => this.#onPointer(event), { signal });
  }

  /** @param target the cell up to which a restart would run, as words; null when nothing has run. */
  show(target: string | null): void {
    this.#restart.hidden = target === null;
    this.#renew.hidden = target === null;
    this.#restart.textContent = `Restart and run all above${target === null ? "" : ` (to ${target})`}`;
  }

  #item(words: string, press: () => void): HTMLButtonElement {
    const button = el("button", { type: "button", class: "tl-menu-item" }, words);
    const act = (): void => {
      this.element.open = false;
      this.#summary.focus();
      press();
    };
    button.addEventListener("click", act, { signal: this.signal });
    return button;
  }

  #onKey(event: KeyboardEvent): void {
    if (event.key !== "Escape" || !this.element.open) return;
    event.stopPropagation();
    this.element.open = false;
    this.#summary.focus();
  }

  #onPointer(event: PointerEvent): void {
    if (event.target instanceof Node && !this.element.contains(event.target)) this.element.open = false;
  }
}
