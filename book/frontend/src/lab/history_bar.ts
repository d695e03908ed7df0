// Owns undo, redo and the permalink in the Lab's head, and taking up a permalink when the page is opened with one.

import { el } from "../dom";
import type { LabHost, LabPanel } from "./app_contract";
import type { LabState } from "./contract";
import { returnTo } from "./history_list";
import { linkText, readExperiment, readLink, stateOf, type Read } from "./history_link";
import { momentOf, Trail, type Moment } from "./history_trail";
import { button } from "./modes/asking";
import { menu } from "./modes/menu";

const NO_LINK: Read = { kind: "none" };

/** The largest map of a long prompt is far smaller. */
const LARGEST_BYTES = 20_000_000;

export const historyBar: LabPanel = {
  name: "steps",
  where: "bar",
  mount: (place, lab, signal) => new Bar(place, lab, signal),
};

class Bar {
  readonly #trail = new Trail();
  readonly #undo: HTMLButtonElement;
  readonly #redo: HTMLButtonElement;
  readonly #says = el("p", { class: "lab-share-says", role: "status" });
  #isGoing = false;

  constructor(private readonly place: HTMLElement, private readonly lab: LabHost, signal: AbortSignal) {
    this.#undo = button("↶ Undo", () => this.#go(this.#trail.undo(), "Undone."), signal);
    this.#redo = button("↷ Redo", () => this.#go(this.#trail.redo(), "Done again."), signal);
    place.append(this.#undo, this.#redo, this.#share(signal));
    lab.store.subscribe((now) => {
      if (!this.#isGoing) this.#trail.record(momentOf(now));
      this.#show();
    }, signal);
    this.#trail.record(momentOf(lab.store.now));
    this.#show();
    this.#listen(signal);
  }

  #show(): void {
    this.#undo.disabled = !this.#trail.canUndo;
    this.#redo.disabled = !this.#trail.canRedo;
  }

  #go(moment: Moment | null, words: string): void {
    if (!moment) return;
    this.#isGoing = true;
    this.lab.cancel();
    this.lab.store.update(moment);
    this.#isGoing = false;
    this.#show();
    this.lab.announce(words);
  }

  /** Where the browser's own undo has nothing to do, the keys are the Lab's. */
  #listen(signal: AbortSignal): void {
    const root = (): Element => this.place.closest(".lab") ?? this.place;
    document.addEventListener("keydown", (event) => {
      if (!(event.ctrlKey || event.metaKey) || event.altKey || event.key.toLowerCase() !== "z") return;
      const { target } = event;
      if (!(target instanceof Element) || !root().contains(target) || target.closest("textarea, select, input:not([type=radio], [type=checkbox], [type=range]), [contenteditable]")) return;
      event.preventDefault();
      if (event.shiftKey) this.#go(this.#trail.redo(), "Done again.");
      else this.#go(this.#trail.undo(), "Undone.");
    }, { signal });
    window.addEventListener("hashchange", () => void this.#takeUp(location.hash), { signal });
    const begin = (): void => {
      if (this.#isFirst()) void this.#takeUp(location.hash);
    };
    if (this.lab.store.now.baseline) return begin();
    const first = new AbortController();
    signal.addEventListener("abort", () => first.abort());
    this.lab.store.subscribe((now) => {
      if (!now.baseline) return;
      first.abort();
      begin();
    }, first.signal);
  }

  /** A page may hold several Labs: its address speaks of the first. */
  #isFirst(): boolean {
    return document.querySelector(".lab") === this.place.closest(".lab");
  }

  #share(signal: AbortSignal): HTMLElement {
    const paste = el("input", { type: "text", class: "lab-text", placeholder: "lab=…", "aria-label": "A link or its text", autocomplete: "off", spellcheck: "false" });
    const form = el("form", { class: "lab-row" }, paste, el("button", { type: "submit", class: "lab-button" }, "Open it"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#takeUp(paste.value, true);
    }, { signal });
    const file = el("input", { type: "file", accept: ".json,application/json", "aria-label": "An experiment as a JSON file" });
    file.addEventListener("change", () => void this.#openFile(file), { signal });
    const copy = button("Copy the link", () => void this.#copy(), signal, true);
    const inside = el("div", { class: "lab-menu-inside" }, el("p", {}, "A link holds prompt, mode and the history of experiments. It holds no numbers: they are computed again."), el("div", { class: "lab-row" }, copy), this.#says, el("p", {}, "Or take one up; an experiment that was exported as JSON is run again and can then be compared:"), form, file);
    return menu("Link", "share", inside, signal);
  }

  async #openFile(input: HTMLInputElement): Promise<void> {
    const [chosen] = input.files ?? [];
    if (!chosen) return;
    if (chosen.size > LARGEST_BYTES) return this.#fail(`${chosen.name} is too large for an experiment: expected at most ${LARGEST_BYTES / 1_000_000} MB.`);
    await this.#takeUp(await chosen.text(), true);
    input.value = "";
  }

  async #copy(): Promise<void> {
    const state = stateOf(this.lab.store.now);
    if (!state) return this.#say("There is nothing to link to yet: open a prompt first.");
    const text = linkText(state);
    const isBook = this.place.closest(".tl-lab") !== null;
    const address = isBook ? `${location.href.split("#")[0] ?? ""}#${text}` : text;
    if (isBook) history.replaceState(history.state, "", `#${text}`);
    try {
      await navigator.clipboard.writeText(address);
      this.#say(isBook ? "Copied. It stands in the address bar, too." : "Copied as text: paste it here, or into the Lab of the book.");
    } catch {
      this.#says.replaceChildren("The browser did not let it be copied; here it is: ", el("code", { class: "lab-link-text" }, address));
    }
  }

  async #takeUp(text: string, isAsked = false): Promise<void> {
    const experiment = isAsked ? readExperiment(text) : NO_LINK;
    const read = experiment.kind === "none" ? readLink(text) : experiment;
    if (read.kind === "wrong") return this.#fail(read.message);
    if (read.kind === "none") return isAsked ? this.#fail("This is neither a link to a Lab, with “lab=” in it, nor an experiment as JSON.") : undefined;
    // An experiment comes to those that are there, to be compared; a link is a history of its own.
    const kept = experiment.kind === "none" ? [] : this.lab.store.now.history;
    await this.#restore(read.state);
    // A prompt that could not be opened leaves everything as it was.
    if (kept.length > 0 && this.lab.store.now.history !== kept) this.lab.store.update({ history: [...kept, ...this.lab.store.now.history] });
  }

  async #restore(state: LabState): Promise<void> {
    await this.lab.restore(state);
    const { baseline, history } = this.lab.store.now;
    if (baseline?.model !== state.model || baseline.prompt !== state.prompt) return;
    const last = history.findLast((entry) => entry.answer === null && entry.question.prompt === state.prompt && entry.question.model === state.model);
    if (last && this.lab.whoCan(last.question) !== null) await returnTo(this.lab, last);
    this.#say("The link is open.");
  }

  #fail(message: string): void {
    this.place.querySelector("details")?.setAttribute("open", "");
    this.#say(message);
  }

  #say(message: string): void {
    this.#says.textContent = message;
    this.lab.announce(message);
  }
}
