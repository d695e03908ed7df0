// Owns the mode that shows the same model on two prompts: every view twice, and what differs between them.

import { el } from "../../dom";
import type { LabHost, LabMode } from "../app_contract";
import type { CompareAnswer, OpenAnswer } from "../contract";
import { guessBars, runBadge } from "../drawing/pictures";
import { percent, visible } from "../drawing/words";
import { button, storedChoices } from "./asking";
import { Bench, type AskedIn } from "./bench";
import { columns, step, terms } from "./layout";
import { headsMap, largestOf, lensMap, streamMap, writesMap } from "./maps";
import { headName } from "./part_names";
import { tokenPair, promptField } from "./prompt_pair";
import { lastAsked } from "./run_facts";
import { klWord, nats, quoted } from "./sentences";
import { StrongestCells } from "./strongest";

export const compare: LabMode = {
  name: "compare",
  title: "Compare",
  hint: "The same model on two prompts: every view twice, and what differs.",
  picks: "one",
  mount: (place, lab, signal) => new CompareMode(lab, signal).mount(place),
};

class CompareMode {
  #other: string;
  readonly #bench: Bench<"compare">;
  readonly #views = el("div", { class: "lab-twice", "data-tour": "views" });

  constructor(private readonly lab: LabHost, private readonly signal: AbortSignal) {
    this.#other = (lastAsked(lab.store.now, "compare") ?? lab.frozenQuestions("compare")[0])?.other ?? "";
    this.#bench = new Bench<"compare">(
      {
        ask: "compare",
        verb: "Run both and compare",
        question: () => this.#question(),
        draw: (place, answer) => this.#draw(place, answer),
        said: (answer) => `The predictions lie ${nats(answer.kl_nats)} apart. ${answer.explain}`,
        stored: () => storedChoices(lab, "compare", ({ other }) => quoted(other), (question) => this.#take(question), signal),
      },
      lab,
      signal,
    );
    lab.store.subscribe((now, before) => {
      if (now.experiment !== before.experiment && now.experiment.kind !== "done") this.#views.replaceChildren();
    }, signal);
  }

  mount(place: HTMLElement): void {
    const field = promptField("Second prompt", this.#other, (prompt) => {
      this.#other = prompt;
      this.#bench.refresh();
    }, this.signal, "other");
    const choose = step(1, "Choose a second prompt", el("p", { class: "lab-soft" }, "First: ", el("q", {}, this.lab.asked().prompt)), field, ...this.#suggestions(field), terms(this.lab, "residual stream", "attention pattern", "KL divergence"));
    place.append(columns([choose, step(2, "Predict", this.#bench.predicting)], [step(3, "Compare", this.#bench.outcome)]), this.#views);
  }

  /** Other prompts with stored answers can at least be opened; as a second prompt they need a kernel or their own answer. */
  #suggestions(field: HTMLElement): HTMLElement[] {
    const { prompt } = this.lab.asked();
    const fill = (other: string): HTMLElement => button(quoted(other), () => {
      const input = field.querySelector("textarea");
      if (input) input.value = other;
      this.#other = other;
      this.#bench.refresh();
    }, this.signal);
    const others = this.lab.prompts.filter((other) => other !== prompt && this.lab.whoCan({ ask: "compare", ...this.lab.asked(), other }) !== null);
    return others.length === 0 ? [] : [el("p", { class: "lab-soft" }, "For example:"), el("div", { class: "lab-row" }, ...others.slice(0, 4).map(fill))];
  }

  #question(): AskedIn<"compare"> | string {
    const asked = this.lab.asked();
    if (this.#other.trim() === "") return "Type a second prompt: best one that differs in a single word.";
    if (this.#other === asked.prompt) return "Both prompts are the same, so nothing can differ: change a word.";
    return { ask: "compare", ...asked, other: this.#other };
  }

  #take(question: AskedIn<"compare">): void {
    this.#other = question.other;
    void this.#bench.quick();
  }

  #draw(place: HTMLElement, answer: CompareAnswer): void {
    const { a, b } = answer;
    const side = (open: OpenAnswer, name: string, run: "clean" | "corrupted"): HTMLElement =>
      el("div", { class: "lab-side-view" }, runBadge(run, name), guessBars(open.next.at(-1) ?? [], { name: `Likeliest next tokens: ${name}` }));
    place.append(
      el("p", { class: "lab-lead" }, `${APART[klWord(answer.kl_nats)] ?? ""} ${nats(answer.kl_nats)} of KL divergence.`),
      tokenPair(textsOf(a), textsOf(b), ["first prompt", "second prompt"]),
      el("div", { class: "lab-halves" }, side(a, "first prompt", "clean"), side(b, "second prompt", "corrupted")),
    );
    this.#views.replaceChildren(this.#differences(answer), this.#doubled(answer));
  }

  #differences(answer: CompareAnswer): HTMLElement {
    const pairs = answer.pairs.map(([left, right]) => pairName(answer, left, right));
    const most = Math.max(0.01, largestOf(answer.pattern));
    const strongest = new StrongestCells("Most different patterns", headName, (value) => percent(value), (layer, head) => this.#look(layer, head), this.signal);
    strongest.show(answer.pattern);
    const beside = el("div", { class: "lab-map-beside" }, headsMap({ title: "Difference of attention patterns", summary: "0: both prompts are read alike; 1: by quite other positions.", onPick: (layer, head) => this.#look(layer, head) }, answer.pattern, "sequential", most, this.signal).element, strongest.element);
    beside.style.setProperty("--lab-columns", String(answer.pattern[0]?.length ?? 1));
    const stream = streamMap({ title: "Distance of the two streams", summary: "Over their mean length, after each layer, at tokens that belong together. 0: the same." }, answer.stream, pairs, this.signal);
    return section("What differs", "Both maps compare positions that belong together.", el("div", { class: "lab-halves lab-halves-maps" }, stream.element, beside));
  }

  #doubled(answer: CompareAnswer): HTMLElement {
    const { a, b } = answer;
    const twice = (draw: (open: OpenAnswer, name: string) => HTMLElement): HTMLElement =>
      el("div", { class: "lab-halves" }, ...([[a, "first prompt"], [b, "second prompt"]] as const).map(([open, name]) => el("div", { class: "lab-side-view" }, runBadge(open === a ? "clean" : "corrupted", name), draw(open, name))));
    const most = { attn: largestOf(a.attn, b.attn), mlp: largestOf(a.mlp, b.mlp), stream: largestOf(a.stream, b.stream) };
    const names = (open: OpenAnswer): readonly string[] => textsOf(open).map(visible);
    const view = (title: string, draw: (open: OpenAnswer, name: string) => HTMLElement, isOpen = false): HTMLElement => {
      const inside = el("div", {});
      const fold = el("details", { class: "lab-more", open: isOpen }, el("summary", {}, title), inside);
      const fill = (): void => {
        if (fold.open && inside.childElementCount === 0) inside.append(twice(draw));
      };
      fold.addEventListener("toggle", fill, { signal: this.signal });
      fill();
      return fold;
    };
    return section(
      "Every view twice",
      "The same scale on both sides.",
      view("Logit lens", (open, name) => lensMap({ title: `Logit lens, ${name}`, summary: "The likeliest next token at each place." }, open.lens, textsOf(open), this.signal).element, true),
      view("Length of the stream", (open, name) => streamMap({ title: `Length of the stream, ${name}`, summary: "After each layer." }, open.stream, names(open), this.signal, most.stream).element),
      view("What attention writes", (open, name) => writesMap({ title: `What attention writes, ${name}`, summary: "Its length over the stream's." }, open.attn, names(open), most.attn, this.signal).element),
      view("What the MLPs write", (open, name) => writesMap({ title: `What MLPs write, ${name}`, summary: "Its length over the stream's." }, open.mlp, names(open), most.mlp, this.signal).element),
    );
  }

  #look(layer: number, head: number): void {
    this.lab.select({ parts: [headName(layer, head)] });
    this.lab.announce(`${headName(layer, head)} is chosen; its picture is above.`);
  }
}

const APART: Readonly<Record<string, string>> = {
  hardly: "The predictions hardly differ:",
  "a little": "The predictions differ a little:",
  clearly: "The predictions clearly differ:",
  "very far": "The predictions lie very far apart:",
};

function section(title: string, hint: string, ...inside: readonly HTMLElement[]): HTMLElement {
  return el("section", { class: "lab-wide-view" }, el("h4", {}, title), el("p", { class: "lab-soft" }, hint), ...inside);
}

function textsOf(open: OpenAnswer): readonly string[] {
  return open.tokens.map(({ text }) => text);
}

function pairName({ a, b }: CompareAnswer, left: number, right: number): string {
  const [first, second] = [a.tokens[left]?.text ?? "", b.tokens[right]?.text ?? ""];
  return first === second ? visible(first) : `${visible(first)} / ${visible(second)}`;
}
