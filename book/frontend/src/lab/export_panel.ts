// Owns the menu that takes experiments out of the Lab: as code, notebook, data, picture and manifest.

import { el } from "../dom";
import { isLabRefusal, type Entry, type LabHost, type LabPanel } from "./app_contract";
import type { CodeAnswer, Question } from "./contract";
import { csv, experimentJson, tableOf } from "./export_data";
import { askingCode, experimentsNotebook } from "./export_notebook";
import { pngOf, svgOf } from "./export_picture";
import { button } from "./modes/asking";
import { menu } from "./modes/menu";
import { labelled } from "./modes/part_picker";

type Dialect = Extract<Question, { ask: "code" }>["dialect"];

const DIALECTS: Readonly<Record<Dialect, string>> = { tlab: "tlab", transformer_lens: "TransformerLens", nnsight: "nnsight", torch: "plain torch" };

export const exportPanel: LabPanel = {
  name: "export",
  where: "bar",
  mount: (place, lab, signal) => new Export(place, lab, signal),
};

class Export {
  readonly #of = el("select", {});
  readonly #dialect = el("select", {}, ...Object.entries(DIALECTS).map(([value, words]) => el("option", { value }, words)));
  readonly #code = el("div", {});
  readonly #says = el("p", { role: "status" });
  #shown: CodeAnswer | null = null;
  #asking = new AbortController();

  constructor(place: HTMLElement, private readonly lab: LabHost, private readonly signal: AbortSignal) {
    const inside = el(
      "div",
      { class: "lab-menu-inside" },
      labelled("Experiment", this.#of),
      el("h3", {}, "As code"),
      el("div", { class: "lab-row" }, this.#dialect, button("Show the code", () => void this.#showCode(), signal, true)),
      this.#code,
      el("h3", {}, "As data and picture"),
      el("div", { class: "lab-row" }, ...this.#files()),
      el("h3", {}, "All of them"),
      el("div", { class: "lab-row" }, button("Notebook (.ipynb)", () => void this.#notebook(), signal)),
      this.#says,
    );
    const fold = menu("Export", "export", inside, signal);
    place.append(fold);
    this.#dialect.setAttribute("aria-label", "Library");
    fold.addEventListener("toggle", () => fold.open && this.#fill(), { signal });
    this.#of.addEventListener("change", () => this.#code.replaceChildren(), { signal });
    lab.store.subscribe((now, before) => now.history !== before.history && this.#fill(), signal);
    signal.addEventListener("abort", () => this.#asking.abort());
    this.#fill();
  }

  #fill(): void {
    const { history } = this.lab.store.now;
    const chosen = this.#of.value;
    this.#of.replaceChildren(...(history.length === 0 ? [el("option", { value: "" }, "none yet: run one first")] : history.map(({ name }, index) => el("option", { value: String(index) }, `${index + 1}. ${name}`))));
    this.#of.value = history.length > 0 ? (chosen !== "" && Number(chosen) < history.length - 1 ? chosen : String(history.length - 1)) : "";
    this.#code.replaceChildren();
  }

  #entry(): Entry | null {
    const entry = this.lab.store.now.history[Number(this.#of.value)];
    if (this.#of.value !== "" && entry) return entry;
    this.#say("There is no experiment yet: run one, then it can be exported.");
    return null;
  }

  #files(): readonly HTMLElement[] {
    const { signal } = this;
    const file = (words: string, make: (entry: Entry) => void): HTMLElement => button(words, () => {
      const entry = this.#entry();
      if (entry) make(entry);
    }, signal);
    return [
      file("JSON", (entry) => this.#save("json", experimentJson(entry), "application/json")),
      file("CSV", (entry) => (entry.answer ? this.#save("csv", csv(tableOf(entry.answer)), "text/csv") : this.#unrun())),
      file("SVG", (entry) => this.#picture(entry, (svg) => this.#save("svg", svg, "image/svg+xml"))),
      file("PNG", (entry) => this.#picture(entry, (svg) => void this.#png(svg))),
    ];
  }

  #picture(entry: Entry, take: (svg: string) => void): void {
    const svg = svgOf(entry);
    if (svg === null) return this.#unrun();
    take(svg);
  }

  async #png(svg: string): Promise<void> {
    try {
      this.#save("png", await pngOf(svg), "image/png");
    } catch {
      this.#say("The browser made no PNG of it: take the SVG.");
    }
  }

  #unrun(): void {
    this.#say("This experiment has no numbers yet: run it first.");
  }

  async #showCode(): Promise<void> {
    const entry = this.#entry();
    if (!entry) return;
    const dialect = this.#dialect.value as Dialect;
    this.#say("The code is being written …");
    try {
      this.#shown = await this.#ask(entry.question, dialect);
      this.#show(this.#shown.code, this.#shown);
      this.#say(this.#shown.explain);
    } catch (error) {
      if (this.signal.aborted) return;
      this.#shown = null;
      this.#code.replaceChildren();
      const needsKernel = isLabRefusal(error) && error.refusal.code === "needs-kernel";
      if (dialect === "tlab" && needsKernel) {
        this.#show(`import tlab\nimport tlab.lab\n\n${askingCode(entry.question)}\n`, null);
        return this.#say("Without a kernel this is the question itself, as tlab answers it.");
      }
      this.#say(isLabRefusal(error) ? error.refusal.message : String(error));
    }
  }

  #ask(about: Question, dialect: Dialect): Promise<CodeAnswer> {
    this.#asking.abort();
    this.#asking = new AbortController();
    return this.lab.ask({ ask: "code", model: about.model, prompt: about.prompt, about, dialect }, this.#asking.signal);
  }

  #show(code: string, answer: CodeAnswer | null): void {
    const { signal } = this;
    const manifest = answer === null ? [] : [
      button("Copy the manifest", () => void this.#copy(answer.manifest, "The manifest is copied."), signal),
      button("Manifest (.json)", () => this.#save("manifest.json", answer.manifest, "application/json"), signal),
    ];
    this.#code.replaceChildren(
      el("pre", { tabindex: "0", role: "region", "aria-label": "Code" }, el("code", {}, code)),
      el("div", { class: "lab-row" }, button("Copy", () => void this.#copy(code, "The code is copied."), signal), button("Code (.py)", () => this.#save("py", code, "text/x-python"), signal), ...manifest),
    );
  }

  async #notebook(): Promise<void> {
    const { history } = this.lab.store.now;
    const codes = new Map<Question, string>();
    this.#say("The notebook is being written …");
    for (const { question } of history) {
      const answer = await this.#ask(question, "tlab").catch(() => null);
      if (this.signal.aborted) return;
      if (answer) codes.set(question, answer.code);
    }
    this.#save("ipynb", experimentsNotebook(history, (question) => codes.get(question) ?? null), "application/x-ipynb+json");
  }

  async #copy(text: string, words: string): Promise<void> {
    await navigator.clipboard.writeText(text).then(() => this.#say(words), () => this.#say("The browser did not let it be copied: mark it and copy it by hand, or take the file."));
  }

  #save(ending: string, content: string | Blob, type: string): void {
    const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
    const name = `lab-experiment.${ending}`;
    const link = el("a", { href: url, download: name });
    link.click();
    // The browser reads the blob after this turn.
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
    this.#say(`${name} is saved.`);
  }

  #say(words: string): void {
    this.#says.textContent = words;
  }
}
