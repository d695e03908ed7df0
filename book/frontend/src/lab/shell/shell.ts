// Owns how the Lab is put together in its place. Each view hears the store itself; here they only meet.

import { el } from "../../dom";
import { isSameRun, type Changed, type Marks } from "../app_contract";
import type { FlowAnswer, LabState } from "../contract";
import { Lab } from "../host";
import { lookMode } from "../look/look_mode";
import { MODES, PANELS } from "../modes/modes";
import { partOf, type Target } from "../pipeline/layout";
import { quietMarks } from "../pipeline/scene";
import { PipelineView } from "../pipeline/view";
import type { Surroundings } from "../surroundings";
import { Identities } from "./identities";
import { ModesBar } from "./modes_bar";
import { Prediction } from "./prediction";
import { Start } from "./start";
import { Tokens } from "./tokens";

/** Put a Lab into a place. The result opens the first prompt. */
export function mountLab(place: HTMLElement, surroundings: Surroundings, state: Partial<LabState>, signal: AbortSignal): Lab {
  const lab = new Lab(surroundings, signal);
  new Shell(place, lab, signal);
  void lab.start(state);
  return lab;
}

class Shell {
  readonly #pipeline: PipelineView;
  readonly #modes: ModesBar;
  #marks: Marks | null = null;
  #changed: Changed | null = null;
  #flow: FlowAnswer | null = null;
  #asking = new AbortController();

  constructor(place: HTMLElement, private readonly lab: Lab, signal: AbortSignal) {
    const root = el("section", { class: "lab", "aria-label": "The Lab", "data-mode": "look", "data-state": "opening" });
    const live = el("div", { class: "lab-hidden", "aria-live": "polite" });
    const start = new Start(lab, signal);
    const identities = new Identities(lab, signal);
    this.#modes = new ModesBar(lab, [lookMode, ...MODES], root, signal);
    this.#pipeline = new PipelineView(lab, { choose: (target) => this.#choose(target), step: (by) => lab.select({ position: lab.store.now.selection.position + by }) }, signal);
    const picture = el("div", { class: "lab-stage" }, this.#pipeline.element, new Prediction(lab, signal).element);
    const foot = el("footer", { class: "lab-foot" });
    root.append(el("h2", { class: "lab-hidden" }, "The Lab"), start.element, new Tokens(lab, signal).element, this.#modes.tabs, picture, this.#modes.panel, identities.element, foot, live);
    lab.hear({
      mark: (marks) => this.#redraw(() => (this.#marks = marks)),
      change: (changed) => this.#redraw(() => (this.#changed = changed)),
      showIdentities: (own) => identities.show(own),
      announce: (text) => (live.textContent = text),
    });
    lab.store.subscribe((now, before) => {
      root.dataset["state"] = now.baseline ? "open" : now.opening.kind === "refused" ? "refused" : "opening";
      const isNew = !isSameRun(now.baseline, before.baseline);
      if (isNew || now.selection.position !== before.selection.position) void this.#askFlow();
      if (now.baseline !== before.baseline || now.selection !== before.selection) this.#draw(isNew);
    }, signal);
    signal.addEventListener("abort", () => this.#asking.abort());
    place.replaceChildren(root);
    for (const panel of PANELS) {
      const own = el("div", { class: "lab-panel-place", "data-panel": panel.name });
      (panel.where === "bar" ? start.bar : foot).append(own);
      panel.mount(own, lab, signal);
    }
  }

  #redraw(change: () => void): void {
    change();
    this.#draw(false);
  }

  #draw(isNew: boolean): void {
    const { baseline, selection } = this.lab.store.now;
    if (!baseline) return;
    const { position, parts } = selection;
    const flow = this.#flow?.position === position ? this.#flow : null;
    const marks = this.#marks ?? quietMarks(baseline.answer);
    this.#pipeline.show({ run: baseline.answer, position, parts, marks, changed: this.#changed, flow }, isNew);
  }

  /** Lines between positions come after the picture, and are left out where nobody can compute them. */
  async #askFlow(): Promise<void> {
    this.#asking.abort();
    const asking = new AbortController();
    this.#asking = asking;
    this.#flow = null;
    const { position } = this.lab.store.now.selection;
    try {
      const flow = await this.lab.ask({ ask: "flow", ...this.lab.asked(), position }, asking.signal);
      if (asking.signal.aborted) return;
      this.#redraw(() => (this.#flow = flow));
    } catch {
      // The picture says by itself that no lines are there; the rest of it holds.
    }
  }

  #choose(target: Target): void {
    const { selection } = this.lab.store.now;
    const part = partOf(target);
    const picksMany = this.#modes.present?.picks === "many";
    if (target.kind === "token") return this.lab.select({ position: target.position });
    if (target.kind === "stream") {
      const place = { layer: target.layer, position: target.position };
      return this.lab.select({ position: target.position, place, ...(picksMany || part === null ? {} : { parts: [part] }) });
    }
    if (part === null) return;
    if (!picksMany) return this.lab.select({ parts: selection.parts.at(-1) === part ? [] : [part] });
    const without = selection.parts.filter((other) => other !== part);
    this.lab.select({ parts: without.length < selection.parts.length ? without : [...selection.parts, part] });
  }
}
