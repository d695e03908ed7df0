// Owns the panel of all experiments: their names, what was predicted, and going back, renaming, replaying and comparing.

import { el } from "../dom";
import { isLabRefusal, type Entry, type LabHost, type LabPanel } from "./app_contract";
import { compareAnswers, isBeforeAfter, modeOf, removed, renamed, replayWords, returnTo } from "./history_list";
import { besides } from "./history_pair";
import { button } from "./modes/asking";
import { forecastFor, judge, predictedWords, VERDICTS } from "./modes/forecasts";
import { baselineOf } from "./modes/run_facts";
import { movedText } from "./modes/sentences";

export const historyPanel: LabPanel = {
  name: "history",
  where: "foot",
  mount: (place, lab, signal) => new History(place, lab, signal),
};

class History {
  readonly #list = el("ol", { class: "lab-history" });
  readonly #pair = el("div", { class: "lab-history-pair" });
  readonly #count = el("span", { class: "lab-soft" });
  readonly #chosen = new Set<Entry>();
  readonly #says = new Map<Entry, string>();
  #naming: Entry | null = null;

  constructor(place: HTMLElement, private readonly lab: LabHost, private readonly signal: AbortSignal) {
    const summary = el("summary", {}, el("strong", {}, "History of experiments"), " ", this.#count);
    place.append(el("details", { class: "lab-history-fold", "data-tour": "history", open: true }, summary, this.#list, this.#pair));
    lab.store.subscribe((now, before) => {
      if (now.history !== before.history || now.experiment.kind !== before.experiment.kind) this.#draw();
    }, signal);
    this.#draw();
  }

  #draw(): void {
    const { history } = this.lab.store.now;
    for (const entry of this.#chosen) if (!history.includes(entry)) this.#chosen.delete(entry);
    this.#count.textContent = history.length === 0 ? "none yet" : String(history.length);
    const rows = history.map((entry, index) => this.#row(entry, index));
    const active = document.activeElement instanceof HTMLElement && this.#list.contains(document.activeElement) ? document.activeElement.dataset["key"] : undefined;
    this.#list.replaceChildren(...(rows.length > 0 ? rows : [el("li", { class: "lab-soft" }, "What you run is kept here, with your predictions. You can go back to it, name it, and compare two.")]));
    if (active) this.#list.querySelector<HTMLElement>(`[data-key="${active}"]`)?.focus();
    this.#drawPair();
  }

  #row(entry: Entry, index: number): HTMLElement {
    const key = (name: string, made: HTMLButtonElement): HTMLButtonElement => {
      made.dataset["key"] = `${name}-${index}`;
      made.setAttribute("aria-label", `${made.textContent}: ${entry.name}`);
      return made;
    };
    const mode = modeOf(entry.question);
    const choose = el("input", { type: "checkbox", "aria-label": `Compare ${entry.name}`, checked: this.#chosen.has(entry), "data-key": `choose-${index}` });
    choose.addEventListener("change", () => this.#choose(entry, choose.checked), { signal: this.signal });
    const says = this.#says.get(entry);
    return el(
      "li",
      { class: "lab-entry", "data-of": mode },
      choose,
      el("span", { class: "lab-entry-mode" }, mode),
      this.#naming === entry ? this.#nameForm(entry) : el("span", { class: "lab-entry-name" }, entry.name, el("small", {}, resultOf(entry, this.lab))),
      el(
        "span",
        { class: "lab-row" },
        key("show", button(entry.answer === null ? "Run" : "Show", () => void returnTo(this.lab, entry), this.signal)),
        key("name", button("Rename", () => this.#name(entry), this.signal)),
        ...(entry.answer === null ? [] : [key("replay", button("Replay", () => void this.#replay(entry), this.signal))]),
        key("remove", button("Remove", () => this.lab.store.update({ history: removed(this.lab.store.now.history, entry) }), this.signal)),
      ),
      ...(says === undefined ? [] : [el("p", { class: "lab-entry-says", role: "status" }, says)]),
    );
  }

  #name(entry: Entry): void {
    this.#naming = entry;
    this.#draw();
    this.#list.querySelector<HTMLInputElement>(".lab-entry-form input")?.select();
  }

  #nameForm(entry: Entry): HTMLElement {
    const input = el("input", { type: "text", class: "lab-text", maxlength: "80", "aria-label": "Name" });
    input.value = entry.name;
    const form = el("form", { class: "lab-entry-form" }, input, el("button", { type: "submit", class: "lab-button" }, "Keep"));
    const done = (): void => {
      this.#naming = null;
      this.lab.store.update({ history: renamed(this.lab.store.now.history, entry, input.value) });
    };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      done();
    }, { signal: this.signal });
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      this.#naming = null;
      this.#draw();
    }, { signal: this.signal });
    return form;
  }

  async #replay(entry: Entry): Promise<void> {
    const say = (words: string): void => {
      this.#says.set(entry, words);
      this.#draw();
      this.lab.announce(words);
    };
    if (this.lab.whoCan(entry.question) === null) return say("Replaying needs a kernel: go live first.");
    say("Replaying …");
    try {
      say(replayWords(compareAnswers(entry.answer, await this.lab.ask(entry.question, this.signal))));
    } catch (error) {
      if (!this.signal.aborted) say(isLabRefusal(error) ? error.refusal.message : String(error));
    }
  }

  #choose(entry: Entry, isChosen: boolean): void {
    if (isChosen) this.#chosen.add(entry);
    else this.#chosen.delete(entry);
    // Two at a time: the one that was chosen first makes room.
    const [first] = this.#chosen;
    if (this.#chosen.size > 2 && first) this.#chosen.delete(first);
    this.#draw();
  }

  #drawPair(): void {
    const [a, b] = [...this.#chosen];
    if (a && b) return this.#pair.replaceChildren(besides(a, b));
    this.#pair.replaceChildren(...(this.lab.store.now.history.length > 1 ? [el("p", { class: "lab-soft" }, "Tick two experiments to see them side by side.")] : []));
  }
}

/** What came, in a few words, with the verdict on what was predicted. */
function resultOf(entry: Entry, lab: LabHost): string {
  const { answer, question, predicted } = entry;
  if (answer === null) return " not run yet";
  const facts = baselineOf(lab);
  const forecast = facts && forecastFor(question, facts);
  const came = forecast?.came(answer);
  const verdict = forecast && came ? judge(forecast, predicted, came.value) : null;
  const words = isBeforeAfter(answer) && question.ask !== "patch" ? movedText(answer.clean_p, answer.patched_p) : (came?.words ?? "");
  const said = verdict && forecast ? ` · you said: ${predictedWords(forecast, predicted)} ${VERDICTS[verdict].sign}` : "";
  return ` ${words}${said}`;
}
