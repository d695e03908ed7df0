// Owns the guides in the page: their menu, the card with the present step, and the mark on what it speaks of.

import { el, unreachable } from "../dom";
import type { LabHost, LabPanel } from "./app_contract";
import { button } from "./modes/asking";
import { menu } from "./modes/menu";
import { isDone, keepProgress, keptProgress, pieces, STEP_WORDS, type Guide, type Help, type Progress, type Step } from "./tour";
import { GUIDES } from "./tour_guides";

const MARK = "lab-tour-at";

export const tourPanel: LabPanel = {
  name: "tour",
  where: "bar",
  mount: (place, lab, signal) => new Tour(place, lab, signal),
};

interface Walk {
  readonly guide: Guide;
  readonly at: number;
}

class Tour {
  readonly #menu = el("ul", { class: "lab-guides" });
  readonly #fold: HTMLDetailsElement;
  readonly #card = el("section", { class: "lab-tour", "aria-label": "Guide", hidden: true });
  #progress: Progress;
  #walk: Walk | null = null;
  #wasDone = false;
  #said = "";
  #stepping = new AbortController();

  constructor(private readonly place: HTMLElement, private readonly lab: LabHost, private readonly signal: AbortSignal) {
    this.#progress = keptProgress(GUIDES);
    const inside = el("div", { class: "lab-menu-inside" }, el("p", {}, "Step by step, without any code. You can leave at any time and go on later."), this.#menu);
    this.#fold = menu("Guides", "guides", inside, signal);
    place.append(this.#fold);
    (place.closest(".lab") ?? place).append(this.#card);
    this.#card.addEventListener("keydown", (event) => event.key === "Escape" && this.#leave(), { signal });
    lab.store.subscribe(() => this.#heard(), signal);
    signal.addEventListener("abort", () => {
      this.#stepping.abort();
      this.#unmark();
      this.#card.remove();
    });
    this.#fill();
  }

  #root(): Element {
    return this.place.closest(".lab") ?? this.place;
  }

  #fill(): void {
    this.#menu.replaceChildren(...GUIDES.map((guide) => this.#item(guide)));
  }

  #item(guide: Guide): HTMLElement {
    const { name, title, about, minutes, steps } = guide;
    const reached = this.#progress[name];
    const state = reached === "done" ? "✓ done · again" : reached === undefined ? "Begin" : `Go on at step ${reached + 1} of ${steps.length}`;
    const begin = button(state, () => void this.#begin(guide, typeof reached === "number" ? reached : 0), this.signal, reached === undefined && name === "first-ablation");
    begin.setAttribute("aria-label", `${title}: ${state}`);
    return el("li", { "data-guide": name }, el("span", {}, el("strong", {}, title), ` · ${minutes} min`, el("br"), about), begin);
  }

  async #begin(guide: Guide, at: number): Promise<void> {
    this.#fold.open = false;
    const { baseline } = this.lab.store.now;
    if (!baseline) return;
    const { model } = baseline;
    const prompt = guide.prompts.find((each) => each === baseline.prompt || this.lab.whoCan({ ask: "open", model, prompt: each }) !== null) ?? guide.prompts[0];
    if (prompt !== undefined && baseline.prompt !== prompt) await this.lab.open(model, prompt);
    if (this.signal.aborted) return;
    if (prompt !== undefined && this.lab.store.now.baseline?.prompt !== prompt) return this.lab.announce(`The guide needs the prompt “${prompt}”, which could not be opened here.`);
    if (at === 0) this.lab.setMode("look");
    this.#go({ guide, at });
    this.#card.querySelector<HTMLElement>("h4")?.focus();
  }

  #go(walk: Walk): void {
    this.#walk = walk;
    this.#said = "";
    this.#progress = { ...this.#progress, [walk.guide.name]: walk.at };
    keepProgress(this.#progress);
    this.#draw(walk);
    this.#point(this.#step(walk), true);
  }

  #step({ guide, at }: Walk): Step {
    const step = guide.steps[at];
    if (!step) throw new Error(`no such step: expected 0 to ${guide.steps.length - 1}, got ${at}`);
    return step;
  }

  #draw(walk: Walk): void {
    this.#stepping.abort();
    this.#stepping = new AbortController();
    const { signal } = this.#stepping;
    const step = this.#step(walk);
    const { now } = this.lab.store;
    this.#wasDone = isDone(step, now);
    const heading = el("h4", { tabindex: "-1" }, el("small", {}, `${walk.guide.title} · ${walk.at + 1} of ${walk.guide.steps.length}`), el("span", { class: "lab-tour-kind", "data-kind": step.kind }, STEP_WORDS[step.kind]), step.title);
    const words = step.words(now);
    this.#said = words.join("\n");
    const paragraphs = words.map((paragraph) => el("p", {}, ...pieces(paragraph).map(({ text, term }) => (term === null ? text : this.lab.term(term, text)))));
    const done = step.until ? [el("p", { class: "lab-tour-done", role: "status" }, this.#wasDone ? "✓ Done." : "Waiting for you.")] : [];
    this.#card.hidden = false;
    this.#card.replaceChildren(heading, ...paragraphs, ...done, this.#buttons(walk, step, signal), el("progress", { max: String(walk.guide.steps.length), value: String(walk.at + 1), "aria-label": "Steps" }));
  }

  #buttons(walk: Walk, step: Step, signal: AbortSignal): HTMLElement {
    const { guide, at } = walk;
    const isLast = at === guide.steps.length - 1;
    const back = button("Back", () => this.#move(-1), signal);
    back.disabled = at === 0;
    const next = button(isLast ? "Finish" : "Next", () => (isLast ? this.#finish(guide) : this.#move(1)), signal, true);
    next.disabled = !this.#wasDone;
    next.dataset["does"] = "next";
    const { help } = step;
    const forMe = help && !(step.until && this.#wasDone) ? [button("Do it for me", () => void this.#help(help), signal)] : [];
    const show = step.at === undefined ? [] : [button("Show me where", () => this.#point(step, true, true), signal)];
    return el("div", { class: "lab-row" }, back, next, ...forMe, ...show, button("Leave", () => this.#leave(), signal));
  }

  #move(by: number): void {
    if (!this.#walk) return;
    this.#go({ ...this.#walk, at: this.#walk.at + by });
    this.#card.querySelector<HTMLElement>("h4")?.focus({ preventScroll: true });
  }

  /** The Lab changed: numbers in the words may have come, or the step may be done now. */
  #heard(): void {
    const walk = this.#walk;
    if (!walk) return;
    const { prompts } = walk.guide;
    if (prompts.length > 0 && !prompts.includes(this.lab.store.now.baseline?.prompt ?? "")) return;
    const step = this.#step(walk);
    const isNowDone = isDone(step, this.lab.store.now);
    if (isNowDone === this.#wasDone && step.words(this.lab.store.now).join("\n") === this.#said) return this.#point(step, false);
    const isFresh = isNowDone && !this.#wasDone;
    const focused = this.#card.contains(document.activeElement);
    this.#draw(walk);
    this.#point(step, false);
    if (!isFresh) return;
    this.lab.announce(`Step done: ${step.title}.`);
    if (focused) this.#card.querySelector<HTMLElement>("[data-does=next]")?.focus();
  }

  #point(step: Step, isNew: boolean, takesFocus = false): void {
    this.#unmark();
    const target = step.at === undefined ? null : this.#root().querySelector<HTMLElement>(step.at);
    if (!target) return;
    target.classList.add(MARK);
    const isQuiet = window.matchMedia?.("(prefers-reduced-motion: reduce)").matches ?? true;
    if (isNew) target.scrollIntoView?.({ block: "center", behavior: isQuiet ? "auto" : "smooth" });
    if (!takesFocus) return;
    const within = target.matches("button, input, select, textarea, a[href], [tabindex]") ? target : target.querySelector<HTMLElement>("button:not(:disabled), input, select, textarea, a[href], [tabindex='0']");
    within?.focus({ preventScroll: true });
  }

  #unmark(): void {
    this.#root().querySelectorAll(`.${MARK}`).forEach((each) => each.classList.remove(MARK));
  }

  async #help(help: Help): Promise<void> {
    switch (help.kind) {
      case "mode":
        return this.lab.setMode(help.mode);
      case "parts":
        return this.lab.select({ parts: help.of(this.lab.store.now).filter((part) => part !== "") });
      case "press":
        // One after the other: a choice may change what the button below it does.
        for (const at of help.at.split(", ")) {
          const target = this.#root().querySelector<HTMLElement>(at);
          if (!(target instanceof HTMLButtonElement && target.disabled)) target?.click();
          if (target?.dataset["tour"] === "skip") return;
        }
        return;
      case "type": {
        const field = this.#root().querySelector<HTMLTextAreaElement | HTMLInputElement>(help.at);
        if (!field) return;
        field.value = help.text;
        field.dispatchEvent(new Event("input", { bubbles: true }));
        field.dispatchEvent(new Event("change", { bubbles: true }));
        return;
      }
      case "all":
        for (const each of help.of) await this.#help(each);
        return;
      default:
        return unreachable(help);
    }
  }

  #finish(guide: Guide): void {
    this.#progress = { ...this.#progress, [guide.name]: "done" };
    keepProgress(this.#progress);
    this.lab.announce(`${guide.title} is done.`);
    this.#close();
    this.#fold.open = true;
    this.#menu.querySelector<HTMLElement>(`[data-guide="${guide.name}"] + li button`)?.focus();
  }

  #leave(): void {
    if (!this.#walk) return;
    this.lab.announce(`Left at step ${this.#walk.at + 1}: the guide waits in the menu.`);
    this.#close();
    this.#fold.querySelector("summary")?.focus();
  }

  #close(): void {
    this.#walk = null;
    this.#stepping.abort();
    this.#unmark();
    this.#card.hidden = true;
    this.#fill();
  }
}
