// Owns the tabs of the modes, their headings, and that what a mode put up goes when it is left.

import { el } from "../../dom";
import { isSameRun, type LabMode } from "../app_contract";
import type { Mode } from "../contract";
import type { Lab } from "../host";
import { refusalFrom } from "../host";
import { note } from "./notes";

export class ModesBar {
  readonly tabs = el("div", { class: "lab-tabs", role: "tablist", "aria-label": "What to do" });
  readonly #title = el("h3", { class: "lab-h lab-mode-title" });
  readonly #hint = el("p", { class: "lab-hint" });
  readonly #place = el("div", { class: "lab-mode-place" });
  readonly panel: HTMLElement;
  readonly #buttons = new Map<Mode, HTMLButtonElement>();
  #mounted = new AbortController();

  constructor(private readonly lab: Lab, private readonly modes: readonly LabMode[], private readonly root: HTMLElement, signal: AbortSignal) {
    this.panel = el("section", { class: "lab-mode", role: "tabpanel", "aria-label": "Mode" }, el("div", { class: "lab-mode-head" }, this.#title, this.#hint), this.#place);
    for (const mode of modes) {
      const button = el("button", { type: "button", class: "lab-tab", role: "tab", "data-mode": mode.name }, mode.title);
      button.addEventListener("click", () => lab.setMode(mode.name), { signal });
      this.#buttons.set(mode.name, button);
      this.tabs.append(button);
    }
    this.tabs.addEventListener("keydown", (event) => this.#key(event), { signal });
    lab.store.subscribe((now, before) => {
      if (now.mode !== before.mode || !isSameRun(now.baseline, before.baseline)) this.#enter();
    }, signal);
    signal.addEventListener("abort", () => this.#mounted.abort());
  }

  get present(): LabMode | undefined {
    return this.modes.find(({ name }) => name === this.lab.store.now.mode);
  }

  #enter(): void {
    this.#mounted.abort();
    const mounted = new AbortController();
    this.#mounted = mounted;
    const mode = this.present ?? this.modes[0];
    if (!mode || !this.lab.store.now.baseline) return;
    this.lab.mark(null);
    this.lab.change(null);
    this.root.dataset["mode"] = mode.name;
    for (const [name, button] of this.#buttons) {
      button.setAttribute("aria-selected", String(name === mode.name));
      button.tabIndex = name === mode.name ? 0 : -1;
    }
    this.#title.textContent = mode.title;
    this.#hint.textContent = mode.hint;
    this.panel.setAttribute("aria-label", mode.title);
    const place = el("div", {});
    this.#place.replaceChildren(place);
    try {
      mode.mount(place, this.lab, mounted.signal);
    } catch (error) {
      place.replaceChildren(note(refusalFrom(error).message));
    }
  }

  #key(event: KeyboardEvent): void {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = this.modes.findIndex(({ name }) => name === this.lab.store.now.mode);
    const next = this.modes[(at + step + this.modes.length) % this.modes.length];
    if (!next) return;
    this.lab.setMode(next.name);
    this.#buttons.get(next.name)?.focus();
  }
}
