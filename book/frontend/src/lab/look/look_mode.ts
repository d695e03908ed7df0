// Owns the mode that changes nothing: what was chosen in the pipeline, looked at from near.

import { el } from "../../dom";
import type { LabHost, LabMode } from "../app_contract";
import type { Part, PartAnswer } from "../contract";
import { refusalFrom } from "../host";
import { strongestHeads } from "../pipeline/scene";
import { note } from "../shell/notes";
import { headView } from "./head_view";
import { mlpView } from "./mlp_view";
import { streamView } from "./stream_view";

export const lookMode: LabMode = {
  name: "look",
  title: "Look",
  hint: "Choose a head, an MLP or a point of the stream in the pipeline to look inside. Nothing is changed here.",
  picks: "one",
  mount: (place, lab, signal) => new Look(place, lab, signal),
};

/** Waiting shorter than this is not worth a word. */
const PATIENCE_MS = 150;

class Look {
  #asking = new AbortController();

  constructor(private readonly place: HTMLElement, private readonly lab: LabHost, private readonly signal: AbortSignal) {
    place.classList.add("lab-look");
    lab.store.subscribe((now, before) => {
      if (now.selection.parts !== before.selection.parts || now.selection.position !== before.selection.position) void this.#show();
    }, signal);
    signal.addEventListener("abort", () => this.#asking.abort());
    void this.#show();
  }

  async #show(): Promise<void> {
    this.#asking.abort();
    const asking = new AbortController();
    this.#asking = asking;
    this.lab.showIdentities([]);
    const { parts, position } = this.lab.store.now.selection;
    const part = parts.at(-1);
    if (part === undefined) return this.place.replaceChildren(this.#invitation());
    const patience = setTimeout(() => this.place.replaceChildren(el("p", { class: "lab-fine", role: "status" }, `Looking into ${part}…`)), PATIENCE_MS);
    try {
      const answer = await this.lab.ask({ ask: "part", ...this.lab.asked(), part, position }, asking.signal);
      if (asking.signal.aborted) return;
      clearTimeout(patience);
      this.#draw(answer, asking.signal);
    } catch (error) {
      clearTimeout(patience);
      if (!asking.signal.aborted) this.place.replaceChildren(this.#refusal(part, error));
    }
  }

  #draw(answer: PartAnswer, signal: AbortSignal): void {
    const { tokens } = this.lab.store.now.baseline?.answer ?? { tokens: [] };
    const views = { head: headView, mlp: mlpView, stream: streamView };
    this.place.replaceChildren(views[answer.kind](answer as never, { lab: this.lab, tokens, signal }));
    if ("identities" in answer) this.lab.showIdentities(answer.identities);
    this.lab.announce(answer.explain);
  }

  #refusal(part: Part, error: unknown): HTMLElement {
    const { message, code } = refusalFrom(error);
    const { connection } = this.lab.store.now;
    const canStart = (connection.kind === "frozen" || connection.kind === "lost") && connection.canStart;
    return note(`${part}: ${message}`, code === "needs-kernel" && canStart ? { words: "Go live", press: () => this.lab.goLive() } : null);
  }

  /** What is stored leads somewhere at once; otherwise the strongest heads do. */
  #invitation(): HTMLElement {
    const run = this.lab.store.now.baseline?.answer;
    const best = run ? strongestHeads(run, 4).map(({ part }) => part) : [];
    const last = run ? run.facts.n_layers - 1 : 0;
    const buttons = [...best, `L${last}.mlp`, `L${Math.floor(last * 0.7)}`].map((part) => {
      const button = el("button", { type: "button", class: "lab-button" }, part);
      button.addEventListener("click", () => this.lab.select({ parts: [part] }), { signal: this.signal });
      return button;
    });
    return el("div", { class: "lab-invitation" }, el("p", {}, "Worth a look: the heads that write most for or against the answer, the last MLP, and the stream on its way."), el("div", { class: "lab-buttons" }, ...buttons));
  }
}
