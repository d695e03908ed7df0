// Owns how one begins: the model, the prompt, examples, and whether a kernel answers.

import { el, unreachable } from "../../dom";
import type { LabNow } from "../app_contract";
import type { Lab } from "../host";
import { note } from "./notes";

/** Longer texts are cut before they are sent: the kernel would refuse them anyway, but only after reading them. */
const MOST_LETTERS = 20_000;

export class Start {
  readonly #model = el("select", { class: "lab-select", "aria-label": "Model" });
  readonly #prompt = el("textarea", { class: "lab-prompt", rows: "1", spellcheck: "false", autocomplete: "off", "aria-label": "Prompt", maxlength: String(MOST_LETTERS) });
  readonly #open = el("button", { type: "submit", class: "lab-button lab-primary" }, "Open");
  readonly #examples = el("ul", { class: "lab-examples", "aria-label": "Examples" });
  readonly #connection = el("div", { class: "lab-connection" });
  readonly #problem = el("div", { class: "lab-problem" });
  readonly element: HTMLElement;
  /** Where panels put their buttons. */
  readonly bar = el("div", { class: "lab-tools" });

  constructor(private readonly lab: Lab, private readonly signal: AbortSignal) {
    const form = el("form", { class: "lab-form" }, this.#model, this.#prompt, this.#open);
    const first = el("div", { class: "lab-start-row" }, form, this.#connection);
    const second = el("div", { class: "lab-start-row" }, this.#examples, this.bar);
    this.element = el("header", { class: "lab-start" }, first, second, this.#problem);
    form.addEventListener("submit", (event) => this.#submit(event), { signal });
    this.#prompt.addEventListener("keydown", (event) => this.#key(event), { signal });
    this.#prompt.addEventListener("input", () => this.#grow(), { signal });
    this.#model.addEventListener("change", () => this.#fillExamples(), { signal });
    lab.store.subscribe((now, before) => this.#show(now, before), signal);
    this.#showConnection(lab.store.now);
  }

  #submit(event: Event): void {
    event.preventDefault();
    void this.lab.open(this.#model.value, this.#prompt.value);
  }

  #key(event: KeyboardEvent): void {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    void this.lab.open(this.#model.value, this.#prompt.value);
  }

  #grow(): void {
    this.#prompt.style.height = "auto";
    this.#prompt.style.height = `${Math.min(this.#prompt.scrollHeight + 2, 140)}px`;
  }

  #show(now: LabNow, before: LabNow): void {
    if (now.baseline !== before.baseline || now.connection !== before.connection) this.#fillModels(now);
    if (now.opening !== before.opening || now.baseline !== before.baseline) this.#showOpening(now);
    if (now.connection !== before.connection) this.#showConnection(now);
  }

  #fillModels(now: LabNow): void {
    const shown = now.baseline?.model ?? this.#model.value;
    const names = [...new Set([...this.lab.models, ...(shown ? [shown] : [])])];
    this.#model.replaceChildren(...names.map((name) => el("option", { value: name, selected: name === shown }, name)));
    this.#fillExamples();
  }

  #fillExamples(): void {
    const model = this.#model.value;
    const shown = this.lab.store.now.baseline;
    const buttons = this.lab.promptsOf(model).map((prompt) => {
      const isShown = shown?.model === model && shown.prompt === prompt;
      const button = el("button", { type: "button", class: "lab-example", title: prompt, "aria-pressed": String(isShown) }, prompt);
      button.addEventListener("click", () => void this.lab.open(model, prompt));
      return el("li", {}, button);
    });
    this.#examples.replaceChildren(...buttons);
    this.#examples.hidden = buttons.length === 0;
  }

  #showOpening({ opening, baseline }: LabNow): void {
    this.#open.disabled = opening.kind === "asking";
    this.#open.textContent = opening.kind === "asking" ? "Opening…" : "Open";
    switch (opening.kind) {
      case "asking":
        this.#problem.replaceChildren();
        this.#prompt.value = opening.prompt;
        break;
      case "refused":
        this.#problem.replaceChildren(this.#refusal(opening.refusal.message, opening.refusal.code, opening.prompt));
        break;
      case "none":
        this.#problem.replaceChildren();
        if (baseline) this.#prompt.value = baseline.prompt;
        break;
      default:
        unreachable(opening);
    }
    this.#grow();
  }

  #refusal(message: string, code: string, prompt: string): HTMLElement {
    const { baseline, connection } = this.lab.store.now;
    const still = baseline && baseline.prompt !== prompt ? " What you see below is still the run before." : "";
    const canStart = (connection.kind === "frozen" || connection.kind === "lost") && connection.canStart;
    const wayOut = code === "needs-kernel" && canStart ? { words: "Go live", press: () => this.#goLive(prompt) } : null;
    return note(message + still, wayOut);
  }

  /** Go live, and open what was asked for as soon as there is a kernel. */
  #goLive(prompt: string): void {
    const waiting = new AbortController();
    this.lab.store.subscribe((now) => {
      if (now.connection.kind === "starting") return;
      waiting.abort();
      if (now.connection.kind === "live") void this.lab.open(this.#model.value, prompt);
    }, AbortSignal.any([waiting.signal, this.signal]));
    this.lab.goLive();
  }

  #showConnection({ connection }: LabNow): void {
    const badge = (state: string, words: string): HTMLElement => el("span", { class: "lab-badge", "data-state": state }, words);
    const button = (words: string): HTMLElement => {
      const made = el("button", { type: "button", class: "lab-button" }, words);
      made.addEventListener("click", () => this.lab.goLive());
      return made;
    };
    switch (connection.kind) {
      case "frozen":
        return this.#connection.replaceChildren(badge("frozen", "Stored answers"), ...(connection.canStart ? [button("Go live")] : []));
      case "starting":
        return this.#connection.replaceChildren(badge("starting", "Starting a kernel…"));
      case "live":
        return this.#connection.replaceChildren(badge("live", "Live"));
      case "lost":
        return this.#connection.replaceChildren(badge("lost", "Kernel lost"), ...(connection.canStart ? [button("Reconnect")] : []), note(connection.reason));
      default:
        return unreachable(connection);
    }
  }
}
