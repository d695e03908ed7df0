// Owns the pipeline in the page: scrolling, zoom, pointer, keyboard, and what is said about it. Drawing is the painter's.

import { el } from "../../dom";
import type { LabHost } from "../app_contract";
import { runBadge } from "../drawing/run_badge";
import { paletteOf } from "../drawing/colours";
import { watchLook } from "../drawing/look";
import { visible } from "../drawing/words";
import { cursorOf, moved, targetOf, type Cursor } from "./cursor";
import { blockLeft, fittingBlock, planOf, targetAt, WIDEST, type Plan, type Sizes, type Target } from "./layout";
import { Legend } from "./legend";
import { paint } from "./painter";
import type { Scene } from "./scene";
import { summaryOf, tableOf, wordsOf } from "./words";

const HELP = "Arrow keys move between blocks and their parts, Enter chooses, Page Up and Page Down change the position, plus and minus zoom, 0 shows everything.";
const UNFOLDING_MS = 1100;
const IDLE_WORDS = "Point at anything, or go through the picture with the arrow keys.";

export interface PipelineActions {
  choose(target: Target): void;
  step(positions: number): void;
}

export class PipelineView {
  readonly element: HTMLElement;
  readonly #canvas = el("canvas", { "aria-hidden": "true" });
  readonly #world = el("div", { class: "lab-pipe-world" }, this.#canvas);
  readonly #window = el("div", { class: "lab-pipe-window", tabindex: "0", role: "application", "aria-roledescription": "pipeline" }, this.#world);
  readonly #says = el("p", { class: "lab-pipe-says", "aria-live": "polite" }, IDLE_WORDS);
  readonly #summary = el("p", { class: "lab-summary" });
  readonly #twin = el("div", { class: "lab-twin-scroll", tabindex: "0", role: "region", "aria-label": "The pipeline as a table" });
  readonly #details = el("details", { class: "lab-twin" }, el("summary", {}, "The pipeline as a table"), this.#twin);
  readonly #legend = new Legend();
  #scene: Scene | null = null;
  #plan: Plan | null = null;
  /** Null: as wide as its place. */
  #block: number | null = null;
  #cursor: Cursor = { column: 1, row: 1 };
  #pointed: Target | null = null;
  #isDue = false;
  #unfoldedAt_ms: number | null = null;
  #drag: { readonly x: number; readonly left: number; moved: boolean } | null = null;

  constructor(lab: LabHost, private readonly actions: PipelineActions, private readonly signal: AbortSignal) {
    const tools = el("div", { class: "lab-pipe-tools", role: "group", "aria-label": "Zoom" }, ...this.#buttons());
    const head = el("figcaption", { class: "lab-pipe-head" }, el("h3", { class: "lab-h" }, "The pipeline"), runBadge("clean"), this.#legend.element, tools);
    const terms = el("p", { class: "lab-fine" }, "Tokens enter at the left. Each block's ", lab.term("attention"), " and ", lab.term("MLP"), " add to the ", lab.term("residual stream"), "; along the bottom the ", lab.term("logit lens"), " reads it after every block.");
    this.element = el("figure", { class: "lab-pipeline" }, head, this.#summary, this.#window, this.#says, terms, this.#details);
    this.#listen();
    watchLook(this.#window, () => this.#layOut(), signal);
  }

  /** @param isNew whether another run is shown, which unfolds from the left. */
  show(scene: Omit<Scene, "cursor" | "unfolded">, isNew: boolean): void {
    if (isNew && !prefersStillness()) this.#unfoldedAt_ms = performance.now();
    this.#scene = { ...scene, cursor: this.#pointed, unfolded: 1 };
    const summary = summaryOf(this.#scene);
    this.#summary.textContent = summary;
    this.#window.setAttribute("aria-label", `The model's pipeline for this prompt. ${summary} ${HELP}`);
    this.#legend.show(scene.marks);
    if (isNew) this.#block = null;
    this.#layOut();
    this.#drawTwin();
    if (isNew && this.#window.scrollLeft > 0) this.#window.scrollLeft = 0;
  }

  #buttons(): HTMLElement[] {
    const button = (words: string, name: string, act: () => void): HTMLElement => {
      const made = el("button", { type: "button", class: "lab-button lab-quiet", "aria-label": name, title: name }, words);
      made.addEventListener("click", act, { signal: this.signal });
      return made;
    };
    return [
      button("−", "Zoom out", () => this.#zoom(1 / 1.4)),
      button("Fit", "Fit the whole pipeline into the window", () => this.#fit()),
      button("+", "Zoom in", () => this.#zoom(1.4)),
    ];
  }

  #listen(): void {
    const { signal } = this;
    const on = <K extends keyof HTMLElementEventMap>(type: K, act: (event: HTMLElementEventMap[K]) => void, options: AddEventListenerOptions = {}): void =>
      this.#window.addEventListener(type, act, { signal, ...options });
    on("scroll", () => this.#later(), { passive: true });
    on("pointermove", (event) => this.#move(event));
    on("pointerleave", () => this.#point(null));
    on("pointerdown", (event) => this.#down(event));
    on("pointerup", () => (this.#drag = null));
    on("pointercancel", () => (this.#drag = null));
    on("click", (event) => this.#click(event));
    on("dblclick", (event) => this.#zoom(2, event.clientX));
    on("wheel", (event) => this.#wheel(event), { passive: false });
    on("keydown", (event) => this.#key(event));
    on("blur", () => this.#point(null));
    this.#details.addEventListener("toggle", () => this.#drawTwin(), { signal });
  }

  #layOut(): void {
    const room = this.#window.clientWidth;
    if (!this.#scene || room === 0) return;
    const { run } = this.#scene;
    const sizes: Sizes = {
      layers: run.facts.n_layers, heads: run.facts.n_heads, tokens: run.tokens.length,
      longestToken: run.tokens.reduce((most, token) => Math.max(most, [...visible(token.text)].length), 0),
    };
    this.#plan = planOf(sizes, room, this.#block ?? fittingBlock(sizes, room));
    this.#world.style.width = `${this.#plan.width}px`;
    this.#world.style.height = `${this.#plan.height}px`;
    this.#later();
  }

  #later(): void {
    if (this.#isDue || this.signal.aborted) return;
    this.#isDue = true;
    requestAnimationFrame((now_ms) => {
      this.#isDue = false;
      this.#draw(now_ms);
    });
  }

  #draw(now_ms: number): void {
    const plan = this.#plan;
    const pen = this.#canvas.getContext("2d");
    if (!plan || !pen || !this.#scene || this.signal.aborted) return;
    const room = this.#window.clientWidth;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(room * ratio), Math.round(plan.height * ratio)];
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      Object.assign(this.#canvas, { width, height });
      this.#canvas.style.width = `${room}px`;
      this.#canvas.style.height = `${plan.height}px`;
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const unfolded = this.#unfolded(now_ms);
    const scene = { ...this.#scene, cursor: this.#pointed, unfolded };
    paint({ pen, plan, scene, palette: paletteOf(this.#window), scrolled: this.#window.scrollLeft, room });
    if (unfolded < 1) this.#later();
  }

  #unfolded(now_ms: number): number {
    if (this.#unfoldedAt_ms === null) return 1;
    const share = Math.max(0, now_ms - this.#unfoldedAt_ms) / UNFOLDING_MS;
    if (share >= 1) this.#unfoldedAt_ms = null;
    return Math.min(1, share);
  }

  #drawTwin(): void {
    if (!this.#details.open || !this.#scene) return;
    const { head, rows } = tableOf(this.#scene);
    const line = (cells: readonly string[]): HTMLElement => el("tr", {}, ...cells.map((cell, index) => (index === 0 ? el("th", { scope: "row" }, cell) : el("td", {}, cell))));
    const heading = el("tr", {}, ...head.map((cell) => el("th", { scope: "col" }, cell)));
    this.#twin.replaceChildren(el("table", {}, el("thead", {}, heading), el("tbody", {}, ...rows.map(line))));
  }

  #under(event: MouseEvent): Target | null {
    if (!this.#plan) return null;
    const box = this.#canvas.getBoundingClientRect();
    const x = event.clientX - box.left;
    const isPinned = x < this.#plan.gutter;
    return targetAt(this.#plan, isPinned ? x : x + this.#window.scrollLeft, event.clientY - box.top, isPinned);
  }

  #move(event: PointerEvent): void {
    if (this.#drag && event.buttons === 1 && event.pointerType === "mouse") {
      const moved = event.clientX - this.#drag.x;
      if (Math.abs(moved) > 4) this.#drag.moved = true;
      if (this.#drag.moved) this.#window.scrollLeft = this.#drag.left - moved;
    }
    this.#point(this.#under(event));
  }

  #down(event: PointerEvent): void {
    if (event.pointerType === "mouse" && event.button === 0) this.#drag = { x: event.clientX, left: this.#window.scrollLeft, moved: false };
  }

  #click(event: MouseEvent): void {
    const wasDragged = this.#drag?.moved ?? false;
    this.#drag = null;
    const target = this.#under(event);
    if (wasDragged || !target) return;
    this.#point(target);
    this.actions.choose(target);
  }

  #point(target: Target | null): void {
    this.#pointed = target;
    if (target && this.#plan) this.#cursor = cursorOf(this.#plan, target) ?? this.#cursor;
    const words = target && this.#scene ? wordsOf(this.#scene, target) : IDLE_WORDS;
    if (this.#says.textContent !== words) this.#says.textContent = words;
    this.#later();
  }

  #wheel(event: WheelEvent): void {
    // A plain wheel belongs to the page.
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    this.#zoom(Math.exp(-event.deltaY / 240), event.clientX);
  }

  #fit(): void {
    this.#block = null;
    this.#layOut();
  }

  /** What is under `clientX`, or in the middle, stays where it is. */
  #zoom(factor: number, clientX?: number): void {
    const plan = this.#plan;
    if (!plan) return;
    const room = this.#window.clientWidth;
    const at = clientX === undefined ? room / 2 : clientX - this.#window.getBoundingClientRect().left;
    const layer = (at + this.#window.scrollLeft - plan.blocksLeft) / plan.block;
    const least = Math.min(plan.block, fittingBlock(plan, room));
    this.#block = Math.min(WIDEST, Math.max(least, plan.block * factor));
    this.#layOut();
    if (this.#plan) this.#window.scrollLeft = blockLeft(this.#plan, layer) - at;
  }

  #key(event: KeyboardEvent): void {
    if (!this.#plan || !this.#scene || event.ctrlKey || event.metaKey || event.altKey) return;
    const acted = this.#actOn(event.key, this.#plan, this.#scene);
    if (acted) event.preventDefault();
  }

  #actOn(key: string, plan: Plan, scene: Scene): boolean {
    if (key === "+" || key === "=") this.#zoom(1.4);
    else if (key === "-") this.#zoom(1 / 1.4);
    else if (key === "0") this.#fit();
    else if (key === "PageUp") this.actions.step(-1);
    else if (key === "PageDown") this.actions.step(1);
    else if (key === "Enter" || key === " ") this.actions.choose(this.#pointed ?? targetOf(plan, this.#cursor, scene.position));
    else return this.#moveCursor(key, plan, scene);
    return true;
  }

  #moveCursor(key: string, plan: Plan, scene: Scene): boolean {
    // The first key shows where one stands.
    const next = this.#pointed ? moved(plan, this.#cursor, key) : moved(plan, this.#cursor, key) && this.#cursor;
    if (!next) return false;
    this.#cursor = next;
    const target = targetOf(plan, next, scene.position);
    this.#point(target);
    this.#cursor = next;
    this.#bringIntoSight(blockLeft(plan, next.column - 1));
    return true;
  }

  #bringIntoSight(x: number): void {
    const { scrollLeft, clientWidth } = this.#window;
    const plan = this.#plan;
    if (!plan) return;
    if (x < scrollLeft + plan.gutter) this.#window.scrollLeft = x - plan.gutter;
    else if (x + plan.block > scrollLeft + clientWidth) this.#window.scrollLeft = x + plan.block - clientWidth + 8;
  }
}

function prefersStillness(): boolean {
  return window.matchMedia?.("(prefers-reduced-motion: reduce)").matches ?? false;
}
