// Owns the map of patches: every layer and position, or every head, and how much of the answer each brings back.

import { el } from "../../dom";
import type { LabHost } from "../app_contract";
import type { PatchMapAnswer, PatchOver } from "../contract";
import { heatMap, type HeatMap } from "../drawing/pictures";
import { plain, visible } from "../drawing/words";
import { button } from "./asking";
import type { AskedIn } from "./bench";
import { percentOfWay } from "./forecasts";
import { picture } from "./layout";
import { headName } from "./part_names";
import { choiceRow } from "./part_picker";
import { factsOf, headLabels, lastAsked, layerLabels } from "./run_facts";
import { counted, quoted } from "./sentences";
import { shareKnown, SideQuestion } from "./side_question";
import { StrongestCells } from "./strongest";

const OVERS: readonly { readonly value: PatchOver; readonly words: string; readonly says: string }[] = [
  { value: "resid_pre", words: "stream", says: "The residual stream before each layer: where the difference is at that point." },
  { value: "attn_out", words: "attention", says: "What each attention writes: where the difference is moved." },
  { value: "mlp_out", words: "MLPs", says: "What each MLP writes: where it is worked on." },
  { value: "head", words: "heads", says: "What each single head writes, at every position at once." },
];

export class PatchMap {
  readonly element: HTMLElement;
  corruptedTokens: readonly string[] | null = null;
  #over: PatchOver;
  #map: HeatMap | null = null;
  readonly #side: SideQuestion<"patch_map">;
  readonly #place = el("div", { class: "lab-map-beside", "data-tour": "patch-map" });
  readonly #run: HTMLButtonElement;
  readonly #strongest: StrongestCells;

  constructor(
    private readonly lab: LabHost,
    private readonly corrupted: () => string,
    private readonly onPick: (over: PatchOver, row: number, column: number) => void,
    private readonly signal: AbortSignal,
  ) {
    this.#over = lastAsked(lab.store.now, "patch_map")?.over ?? "resid_pre";
    const { d_mlp } = factsOf(lab);
    this.#side = new SideQuestion<"patch_map">({ lab, words: "Patching one place after the other", progress: ({ recovered }) => shareKnown(recovered), draw: (answer) => this.#draw(answer) }, signal);
    this.#strongest = new StrongestCells("Strongest", (row, column) => this.#nameOf(row, column), percentOfWay, (row, column) => this.onPick(this.#over, row, column), signal);
    this.#run = button("", () => void this.#side.ask(this.#question()), signal);
    this.#run.dataset["tour"] = "map-run";
    const over = choiceRow("Patch over", OVERS.filter(({ value }) => value !== "mlp_out" || d_mlp > 0), this.#over, (value) => this.#setOver(value), signal);
    this.element = picture("Every place at once", "Each cell: how far the corrupted run comes back when this place is taken from the clean one. 0%: not at all; 100%: all the way.", over, el("div", { class: "lab-row" }, this.#run), this.#side.element, this.#place);
    this.recall();
  }

  /** The map for what is chosen now, if it was measured or is stored. */
  recall(): void {
    if (this.#side.isAsking) this.#side.cancel();
    this.#map = null;
    this.#place.replaceChildren();
    this.lab.mark(null);
    const question = this.#question();
    const isReady = question.corrupted !== question.prompt && question.corrupted.trim() !== "";
    this.#run.disabled = !isReady;
    const { n_layers, n_heads } = factsOf(this.lab);
    const width = this.#over === "head" ? n_heads : (this.lab.store.now.baseline?.answer.tokens.length ?? 1);
    this.#run.textContent = `Measure ${counted(n_layers * width, this.#over === "head" ? "head" : "place")}`;
    if (!isReady || this.#side.recall(question)) return;
    if (this.lab.whoCan(question) === "frozen") void this.#side.show(question);
  }

  #setOver(over: PatchOver): void {
    this.#over = over;
    this.recall();
  }

  #question(): AskedIn<"patch_map"> {
    return { ask: "patch_map", ...this.lab.asked(), corrupted: this.corrupted(), over: this.#over };
  }

  #nameOf(row: number, column: number): string {
    return this.#over === "head" ? headName(row, column) : `L${row}, position ${column}`;
  }

  #draw(answer: PatchMapAnswer): void {
    this.corruptedTokens = answer.corrupted_tokens;
    this.#mark(answer);
    this.#strongest.show(answer.recovered);
    if (this.#map) return this.#map.update(answer.recovered, 1);
    this.#map = heatMap(
      {
        title: `Back to ${visible(answer.answer)}, away from ${visible(answer.against)}`,
        summary: "0 is the corrupted run, 1 the clean one; below 0 it goes further away.",
        rowTitle: "layer",
        columnTitle: answer.over === "head" ? "head" : "position",
        rows: layerLabels(answer.recovered.length),
        columns: answer.over === "head" ? headLabels(factsOf(this.lab).n_heads) : answer.tokens.map((token, at) => columnOf(token, answer.corrupted_tokens[at])),
        values: answer.recovered, scale: "diverging", most: 1, write: (value) => plain(value),
        onPick: (row, column) => this.onPick(answer.over, row, column),
      },
      this.signal,
    );
    this.#place.style.setProperty("--lab-columns", String(answer.recovered[0]?.length ?? 1));
    this.#place.replaceChildren(this.#map.element, this.#strongest.element);
  }

  /** In the pipeline a layer is coloured by its best place. */
  #mark(answer: PatchMapAnswer): void {
    const legend = `How much of ${quoted(answer.answer)} comes back with this part from the clean run`;
    const common = { legend, scale: "diverging", most: 1, unit: "of the way" } as const;
    const best = answer.recovered.map((row) => row.reduce<number | null>((most, value) => (value !== null && Math.abs(value) > Math.abs(most ?? 0) ? value : most), null));
    if (answer.over === "head") this.lab.mark({ ...common, heads: answer.recovered });
    else if (answer.over === "attn_out") this.lab.mark({ ...common, attn: best });
    else if (answer.over === "mlp_out") this.lab.mark({ ...common, mlp: best });
    else this.lab.mark(null);
  }
}

/** Where the prompts differ, both tokens stand at the column. */
function columnOf(token: string, corrupted: string | undefined): string {
  return corrupted === undefined || corrupted === token ? visible(token) : `${visible(token)} / ${visible(corrupted)}`;
}
