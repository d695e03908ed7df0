// Owns one cell on the page: its code, editor, outputs and badge. It runs nothing; the notebook does.

import type { MountedEditor } from "../editor/contract";
import type { CellOutputs, OutputEvent } from "../live/contract";
import { el } from "../dom";
import { loadPart, type Host, type LivePart } from "../parts";
import { problemFrom, type Problem } from "../server_error";
import { announce } from "./events";
import { notice, type NoticeAction } from "./notice";
import { cellLabel, isPending, type CellState } from "./states";
import { Toolbar, type ToolbarActions } from "./toolbar";

export class Cell {
  readonly isSetup: boolean;
  readonly mayFail: boolean;
  readonly toolbar: Toolbar;
  #state: CellState = { kind: "stored" };
  #editor: MountedEditor | null = null;
  #mounting: Promise<void> | null = null;
  #notice: HTMLElement | null = null;
  readonly #source: string;
  readonly #input: HTMLElement;
  readonly #output: HTMLElement;
  readonly #hasStored: boolean;
  /** The stored output; taken out of the page while a live one stands in its place. */
  readonly #stored = el("div", { class: "tl-stored" });
  /** What the reader sees now: the stored output or a live one. */
  #shown: HTMLElement = this.#stored;
  /** Owns the listeners of the live outputs that are shown. */
  #shownRun: AbortController | null = null;

  constructor(
    readonly element: HTMLElement,
    readonly index: number,
    private readonly host: Host,
    actions: Pick<ToolbarActions, "run" | "interrupt" | "expectRun">,
    private readonly signal: AbortSignal,
  ) {
    const input = element.querySelector<HTMLElement>(".cell_input");
    if (!input) throw new Error(`cell ${index + 1}: expected a .cell_input, got none`);
    this.#input = input;
    this.#source = (input.querySelector("pre")?.textContent ?? "").replace(/\n$/, "");
    const output = element.querySelector<HTMLElement>(".cell_output");
    this.#hasStored = output !== null;
    this.#output = output ?? el("div", { class: "cell_output" });
    this.#stored.append(...this.#output.childNodes);
    this.#output.append(this.#stored);
    if (!output) element.append(this.#output);
    this.isSetup = element.classList.contains("tag_setup");
    this.mayFail = element.classList.contains("tag_raises-exception");
    const own = { reset: () => this.reset(), edit: () => void this.edit(null) };
    this.toolbar = new Toolbar(index + 1, { ...actions, ...own }, signal);
    input.append(this.toolbar.element);
    input.addEventListener("click", (event) => this.#onClick(event), { signal });
    this.state = this.#state;
  }

  get state(): CellState {
    return this.#state;
  }

  set state(state: CellState) {
    this.#state = state;
    this.element.dataset["state"] = state.kind;
    this.toolbar.say(cellLabel(state, this.#hasStored));
    const pending = isPending(state);
    this.toolbar.interrupt.hidden = !pending;
    this.toolbar.run.hidden = pending;
    this.#offerReset();
  }

  code(): string {
    return this.#editor?.code() ?? this.#source;
  }

  /** Swap the code for an editor; the caret goes where the reader clicked. */
  async edit(at: { x: number; y: number } | null): Promise<void> {
    this.#mounting ??= this.#mount(at).catch((error: unknown) => {
      this.#mounting = null;
      this.say({ ...problemFrom(error), message: "The editor did not load." });
    });
    await this.#mounting;
    this.#editor?.focus();
  }

  /** The original code and the stored output again. */
  reset(): void {
    const hadFocus = this.element.contains(document.activeElement);
    this.#shownRun?.abort();
    this.#shownRun = null;
    this.#editor?.destroy();
    this.#editor = null;
    this.#mounting = null;
    this.say(null);
    this.#codeBlock().hidden = false;
    this.#show(this.#stored);
    // Its figures may have missed a change of the window's width.
    window.dispatchEvent(new Event("resize"));
    this.state = { kind: "stored" };
    if (hadFocus) this.toolbar.edit.focus();
  }

  /** Open the outputs of a new run; what is shown stays, dimmed, until the first of them arrives. */
  beginRun(live: LivePart, startedAt_ms: number): LiveOutputs {
    const run = new AbortController();
    this.say(null);
    this.#shown.classList.add("tl-stale");
    this.#output.closest("details")?.setAttribute("open", "");
    this.state = { kind: "running" };
    const container = el("div", { class: "tl-live", hidden: true });
    this.#output.append(container);
    const caption = this.#captionOf(this.code());
    const outputs = live.openOutputs(this.host, container, run.signal);
    const show = (): void => {
      this.#show(container);
      this.#output.append(...caption);
      this.#shownRun?.abort();
      this.#shownRun = run;
    };
    return new LiveOutputs(outputs, show, () => announce("first-output", this.index, startedAt_ms), run.signal);
  }

  /** A run that never began or was lost: what was shown is shown again. */
  abandonRun(): void {
    this.#output.querySelectorAll(".tl-live[hidden]").forEach((container) => container.remove());
    this.#shown.classList.remove("tl-stale");
    this.state = this.#shown === this.#stored ? { kind: "stored" } : { kind: "live" };
  }

  say(problem: Pick<Problem, "message" | "hint"> | null, actions: readonly NoticeAction[] = []): void {
    this.#notice?.remove();
    this.#notice = problem ? notice(problem, actions) : null;
    if (this.#notice) this.#input.after(this.#notice);
  }

  #show(next: HTMLElement): void {
    next.hidden = false;
    next.classList.remove("tl-stale");
    this.#output.replaceChildren(next);
    this.#shown = next;
  }

  /** The stored figure's caption holds for a live one too, as long as the code is the same. */
  #captionOf(code: string): HTMLElement[] {
    const caption = this.#stored.querySelector("figcaption");
    if (!caption || code !== this.#source) return [];
    const words = [...caption.childNodes].map((node) => node.cloneNode(true));
    return [el("div", { class: "tl-caption" }, ...words)];
  }

  async #mount(at: { x: number; y: number } | null): Promise<void> {
    const editors = await loadPart(this.host.config, "editor");
    const block = this.#codeBlock();
    const parent = el("div", { class: "tl-editor" });
    block.before(parent);
    const options = {
      parent,
      code: this.#source,
      label: `Code of cell ${this.index + 1}`,
      at,
      onRun: () => this.toolbar.run.click(),
    };
    const mounted = editors.mount(options);
    block.hidden = true;
    this.#editor = { ...mounted, destroy: () => (mounted.destroy(), parent.remove()) };
    this.signal.addEventListener("abort", () => this.#editor?.destroy());
    this.#offerReset();
  }

  #codeBlock(): HTMLElement {
    const pre = this.#input.querySelector<HTMLElement>("pre");
    return pre?.closest<HTMLElement>("[class*='highlight-']") ?? pre ?? this.#input;
  }

  #offerReset(): void {
    this.toolbar.reset.hidden = this.#editor === null && (this.#state.kind === "stored" || isPending(this.#state));
    this.toolbar.edit.hidden = this.#editor !== null;
  }

  #onClick(event: MouseEvent): void {
    if (!(event.target instanceof Element) || this.#editor) return;
    if (!event.target.closest("pre") || event.target.closest("a, button")) return;
    // A reader who drags over the code wants to copy it.
    if (window.getSelection()?.isCollapsed === false) return;
    void this.edit({ x: event.clientX, y: event.clientY });
  }
}

/** The outputs of one run, which take the place of the old ones with their first event. */
export class LiveOutputs {
  #isShown = false;

  constructor(
    private readonly outputs: CellOutputs,
    private readonly show: () => void,
    private readonly onFirstDrawn: () => void,
    private readonly signal: AbortSignal,
  ) {}

  handle(event: OutputEvent): void {
    if (this.signal.aborted) return;
    if (!this.#isShown && event.kind !== "clear") this.#reveal();
    this.outputs.handle(event);
  }

  /** Everything is drawn; a run without outputs leaves an empty place, not the old output. */
  async finish(): Promise<void> {
    await this.outputs.drawn();
    if (!this.#isShown && !this.signal.aborted) this.show();
  }

  #reveal(): void {
    this.#isShown = true;
    this.show();
    queueMicrotask(() => {
      void this.outputs.drawn().then(() => {
        if (!this.signal.aborted) this.onFirstDrawn();
      });
    });
  }
}
