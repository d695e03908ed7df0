// Owns the mode that puts a piece of one run into another: two prompts, a place, what it brought back, and the map of all places.

import { el } from "../../dom";
import type { LabHost, LabMode } from "../app_contract";
import type { PatchAnswer, PatchOver } from "../contract";
import { visible } from "../drawing/words";
import { alignmentText } from "./aligning";
import { storedChoices } from "./asking";
import { Bench, type AskedIn } from "./bench";
import { percentOfWay } from "./forecasts";
import { columns, step, terms } from "./layout";
import { headName, nameOf, readPart, type PartKind } from "./part_names";
import { labelled, partPicker } from "./part_picker";
import { PatchMap } from "./patch_map";
import { patchResult } from "./patch_result";
import { promptField, tokenPair } from "./prompt_pair";
import { factsOf, lastAsked } from "./run_facts";
import { partWords, quoted } from "./sentences";

export const patch: LabMode = {
  name: "patch",
  title: "Patch",
  hint: "Put one piece of the clean run into a corrupted one, and see whether the answer comes back.",
  picks: "one",
  mount: (place, lab, signal) => new PatchMode(lab, signal).mount(place),
};

const KINDS: readonly PartKind[] = ["head", "mlp", "attn", "stream"];
const STREAM_OF: Readonly<Record<Exclude<PatchOver, "head">, PartKind>> = { resid_pre: "stream", attn_out: "attn", mlp_out: "mlp" };

class PatchMode {
  #corrupted: string;
  #position: number | null;
  #tokens: readonly string[] | null = null;
  readonly #bench: Bench<"patch">;
  readonly #map: PatchMap;
  readonly #pair = el("div", { "data-tour": "pair" });
  readonly #chosen = el("p", { class: "lab-chosen", "data-tour": "place" });
  readonly #at: HTMLSelectElement;

  constructor(private readonly lab: LabHost, private readonly signal: AbortSignal) {
    const { now } = lab.store;
    const last = lastAsked(now, "patch");
    const stored = lab.frozenQuestions("patch")[0] ?? lab.frozenQuestions("patch_map")[0];
    this.#corrupted = (last ?? lastAsked(now, "patch_map") ?? stored)?.corrupted ?? lab.asked().prompt;
    this.#position = last?.position ?? null;
    this.#at = this.#positions();
    this.#bench = new Bench<"patch">(
      {
        ask: "patch",
        verb: "Patch and compare",
        question: () => this.#question(),
        draw: (place, answer, question) => this.#draw(place, answer, question),
        said: (answer) => answer.recovered === null ? answer.explain : `The patch brings the corrupted run ${percentOfWay(answer.recovered)} of the way back to ${quoted(answer.token)}.`,
        stored: () => storedChoices(lab, "patch", (question) => placeWords(question), (question) => this.#take(question), signal),
      },
      lab,
      signal,
    );
    this.#map = new PatchMap(lab, () => this.#corrupted, (over, row, column) => this.#pick(over, row, column), signal);
    lab.store.subscribe((next, before) => next.selection.parts !== before.selection.parts && this.#showChosen(), signal);
  }

  mount(place: HTMLElement): void {
    const { lab, signal } = this;
    const field = promptField("Corrupted prompt: the same, but for what should make the difference", this.#corrupted, (prompt) => this.#setCorrupted(prompt), signal, "corrupted");
    const picker = partPicker(lab, "Take it", (part) => lab.select({ parts: [part] }), signal, KINDS.filter((kind) => kind !== "mlp" || factsOf(lab).d_mlp > 0));
    place.append(
      columns(
        [
          step(1, "Choose two prompts", el("p", { class: "lab-soft" }, "Clean: ", el("q", {}, lab.asked().prompt)), field, this.#pair, terms(lab, "activation patching", "clean run", "corrupted run", "patched run", "logit difference")),
          step(2, "Choose a place", this.#chosen, picker, labelled("at position", this.#at)),
          step(3, "Predict", this.#bench.predicting),
        ],
        [step(4, "Compare", this.#bench.outcome)],
      ),
      this.#map.element,
    );
    this.#showChosen();
    void this.#readTokens();
  }

  #positions(): HTMLSelectElement {
    const tokens = this.lab.store.now.baseline?.answer.tokens ?? [];
    const all = el("option", { value: "", selected: this.#position === null }, "every position");
    const options = tokens.map(({ text }, position) => el("option", { value: String(position), selected: position === this.#position }, `${position}: ${visible(text)}`));
    const select = el("select", {}, all, ...options);
    select.addEventListener("change", () => {
      this.#position = select.value === "" ? null : Number(select.value);
      this.#showChosen();
    }, { signal: this.signal });
    return select;
  }

  #question(): AskedIn<"patch"> | string {
    const part = this.lab.store.now.selection.parts.at(-1);
    const asked = this.lab.asked();
    if (this.#corrupted.trim() === "") return "The corrupted prompt is empty: type the clean one with a word changed.";
    if (this.#corrupted === asked.prompt) return "Both prompts are the same: change a word in the corrupted one, so that there is something to patch.";
    if (part === undefined || !readPart(part)) return "Choose a place: a cell of the map below, a part in the picture, or the fields above.";
    if (this.#tokens && this.#position !== null && this.#tokens.length !== this.#cleanTokens().length) return alignmentText(this.#cleanTokens(), this.#tokens);
    return { ask: "patch", ...asked, corrupted: this.#corrupted, part, position: this.#position };
  }

  #cleanTokens(): readonly string[] {
    return this.lab.store.now.baseline?.answer.tokens.map(({ text }) => text) ?? [];
  }

  #setCorrupted(prompt: string): void {
    this.#corrupted = prompt;
    this.#tokens = null;
    this.#bench.refresh();
    this.#map.recall();
    void this.#readTokens();
  }

  /** The corrupted prompt's tokens, from whoever knows them; without anybody the map brings them. */
  async #readTokens(): Promise<void> {
    const corrupted = this.#corrupted;
    const question = { ask: "open", model: this.lab.asked().model, prompt: corrupted } as const;
    if (corrupted === this.lab.asked().prompt) this.#tokens = this.#cleanTokens();
    else if (corrupted.trim() !== "" && this.lab.whoCan(question) !== null) {
      const answer = await this.lab.ask(question, this.signal).catch(() => null);
      if (this.signal.aborted || corrupted !== this.#corrupted) return;
      this.#tokens = answer?.tokens.map(({ text }) => text) ?? null;
    }
    this.#tokens ??= this.#map.corruptedTokens;
    this.#showPair();
    this.#bench.refresh();
  }

  #showPair(): void {
    if (!this.#tokens) return this.#pair.replaceChildren(el("p", { class: "lab-soft" }, "How it falls into tokens is seen once it has been read."));
    const clean = this.#cleanTokens();
    this.#pair.replaceChildren(tokenPair(clean, this.#tokens, ["clean", "corrupted"]), el("p", {}, alignmentText(clean, this.#tokens)));
  }

  #showChosen(): void {
    const part = this.lab.store.now.selection.parts.at(-1);
    const where = this.#position === null ? "at every position" : `at position ${this.#position}, ${quoted(this.#cleanTokens()[this.#position] ?? "")}`;
    this.#chosen.replaceChildren(...(part === undefined ? ["Nothing yet."] : [el("strong", {}, part), ` ${where}: ${partWords(part)}.`]));
    this.#at.value = this.#position === null ? "" : String(this.#position);
    this.#bench.refresh();
  }

  #pick(over: PatchOver, row: number, column: number): void {
    this.#position = over === "head" ? null : column;
    const part = over === "head" ? headName(row, column) : nameOf({ kind: STREAM_OF[over] as Exclude<PartKind, "head">, layer: row });
    this.lab.select({ parts: [part], place: over === "head" ? null : { layer: row, position: column } });
    this.#showChosen();
    void this.#bench.quick();
  }

  #take(question: AskedIn<"patch">): void {
    this.#position = question.position;
    this.lab.select({ parts: [question.part] });
    this.#showChosen();
  }

  #draw(place: HTMLElement, answer: PatchAnswer, question: AskedIn<"patch">): void {
    this.lab.change({ parts: [question.part], word: "patched" });
    place.append(patchResult(answer, placeWords(question)));
  }
}

export function placeWords({ part, position }: Pick<AskedIn<"patch">, "part" | "position">): string {
  return position === null ? `${part}, every position` : `${part} at position ${position}`;
}
