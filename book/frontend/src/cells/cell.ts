// Owns one cell on the page: its code, outputs, toolbar and notices. It runs nothing; the notebook does.

import { el } from "../dom";
import type { Assistant } from "../editor/contract";
import { expectFigures } from "../figures/pictured";
import type { CellError } from "../live/contract";
import { placeInCell } from "../live/place";
import type { Host, LivePart } from "../parts";
import type { Problem } from "../server_error";
import { CellCode } from "./cell_code";
import type { Edits } from "./edits";
import { announce } from "./events";
import { failureButtons } from "./explain";
import { LiveOutputs } from "./live_outputs";
import { notice, outdatedNotice, type NoticeAction } from "./notice";
import { cellLabel, isPending, placeLabel, type CellState } from "./states";
import { Toolbar, type ToolbarActions } from "./toolbar";

export interface CellActions extends Pick<ToolbarActions, "run" | "runAbove" | "interrupt" | "expectRun"> {
  /** The browser does not keep edits. */
  unkept(): void;
  readonly edits: Edits;
  readonly assistant: Assistant | null;
}

/** Where Shift-Enter belongs to what has the focus. */
const OWN_KEYS = ".cm-editor, input, textarea, select, [contenteditable]";

export class Cell {
  readonly isSetup: boolean;
  readonly mayFail: boolean;
  readonly toolbar: Toolbar;
  readonly code: CellCode;
  #state: CellState = { kind: "stored" };
  /** The last state that was no waiting: what is shown belongs to it. */
  #settled: CellState = this.#state;
  #notice: HTMLElement | null = null;
  readonly #input: HTMLElement;
  readonly #output: HTMLElement;
  readonly #hasStored: boolean;
  /** The stored output, once it is gathered; taken out of the page while a live one stands in its place. */
  readonly #stored = el("div", { class: "tl-stored" });
  #isGathered = false;
  /** What the reader sees now: the stored output or a live one. */
  #shown: HTMLElement = this.#stored;
  /** Owns the listeners of the live outputs that are shown. */
  #shownRun: AbortController | null = null;
  #began_ms = 0;

  constructor(
    readonly element: HTMLElement,
    readonly index: number,
    private readonly host: Host,
    private readonly actions: CellActions,
    signal: AbortSignal,
  ) {
    const input = element.querySelector<HTMLElement>(".cell_input");
    if (!input) throw new Error(`cell ${index + 1}: expected a .cell_input, got none`);
    this.#input = input;
    const output = element.querySelector<HTMLElement>(".cell_output");
    this.#hasStored = output !== null;
    this.#output = output ?? el("div", { class: "cell_output" });
    if (!output) element.append(this.#output);
    this.isSetup = element.classList.contains("tag_setup");
    this.mayFail = element.classList.contains("tag_raises-exception");
    const own = { reset: () => this.reset(), edit: () => void this.code.edit(null) };
    this.toolbar = new Toolbar(index + 1, { ...actions, ...own }, signal);
    const say = (problem: Problem): void => this.say(problem);
    const changed = (): void => this.#offer();
    this.code = new CellCode(input, index, host, actions.edits, { ...actions, say, changed }, signal);
    input.append(this.toolbar.element);
    input.addEventListener("click", (event) => this.#onClick(event), { signal });
    // Reachable by a click, so that Shift-Enter knows which cell is meant; the tabulator goes on to the buttons.
    element.tabIndex = -1;
    // A listener hears where a cell begins, and then its code, its buttons and its output in this order.
    element.setAttribute("role", "group");
    element.setAttribute("aria-label", `Cell ${index + 1}`);
    this.#nameOutput();
    element.addEventListener("keydown", (event) => this.#onKey(event), { signal });
    this.state = this.#state;
    if (this.code.outdated !== null) this.#askWhichCode(this.code.outdated);
  }

  get state(): CellState {
    return this.#state;
  }

  set state(state: CellState) {
    this.#state = state;
    if (!isPending(state)) this.#settled = state;
    this.element.dataset["state"] = state.kind;
    this.toolbar.say(cellLabel(state, this.#hasStored), placeLabel(state));
    this.#offer();
  }

  /** The original code and the stored output again. */
  reset(): void {
    const hadFocus = this.element.contains(document.activeElement);
    this.#shownRun?.abort();
    this.#shownRun = null;
    this.say(null);
    this.code.reset();
    if (this.#isGathered) this.#show(this.#stored);
    this.toolbar.count(null);
    this.toolbar.stopClock(null);
    // Its figures may have missed a change of the window's width.
    window.dispatchEvent(new Event("resize"));
    this.state = { kind: "stored" };
    if (hadFocus) this.toolbar.edit.focus();
  }

  /** Open the outputs of a new run; what is shown stays, dimmed, until the first of them arrives. */
  beginRun(live: LivePart, startedAt_ms: number): LiveOutputs {
    const run = new AbortController();
    this.say(null);
    this.code.mark(null);
    this.#gather();
    this.#shown.classList.add("tl-stale");
    expectFigures(this.host, this.#stored);
    this.#output.closest("details")?.setAttribute("open", "");
    this.toolbar.count(null);
    this.toolbar.startClock();
    this.#began_ms = performance.now();
    this.state = { kind: "running" };
    const container = el("div", { class: "tl-live", hidden: true });
    this.#output.append(container);
    const caption = this.#captionOf(this.code.text);
    const outputs = live.openOutputs(this.host, container, run.signal);
    const show = (): void => {
      this.#show(container);
      this.#output.append(...caption);
      this.#shownRun?.abort();
      this.#shownRun = run;
      this.#settled = { kind: "live" };
    };
    return new LiveOutputs(outputs, show, () => announce("first-output", this.index, startedAt_ms), run.signal);
  }

  /** The run came to its end, with or without an error. */
  endRun(state: CellState, execution: number | null): void {
    this.toolbar.stopClock(performance.now() - this.#began_ms);
    this.toolbar.count(execution);
    this.state = state;
  }

  /** Name the line that failed, mark it, and offer help. */
  showFailure(error: CellError): void {
    const place = placeInCell(error);
    if (error.name === "KeyboardInterrupt") return;
    this.code.mark(place?.line ?? null);
    const goTo = (line: number): void => void this.code.goTo(line);
    const buttons = failureButtons({ ...error, place }, { goTo, ask: this.host.ask });
    const view = [...this.#output.querySelectorAll(".tl-error")].at(-1);
    if (buttons) view?.append(buttons);
  }

  /** A run that never began or was lost: what was shown is shown again. */
  abandonRun(): void {
    this.#output.querySelectorAll(".tl-live[hidden]").forEach((container) => container.remove());
    this.#shown.classList.remove("tl-stale");
    if (this.#state.kind === "running") this.toolbar.stopClock(null);
    this.state = this.#settled;
  }

  say(problem: Pick<Problem, "message" | "hint"> | null, actions: readonly NoticeAction[] = []): void {
    this.#put(problem ? notice(problem, actions) : null);
  }

  #put(element: HTMLElement | null): void {
    this.#notice?.remove();
    this.#notice = element;
    if (element) this.#input.after(element);
  }

  #askWhichCode(mine: string): void {
    const choose = (act: () => void) => (): void => {
      act();
      this.#put(null);
      this.toolbar.run.focus();
    };
    this.#put(outdatedNotice(mine, choose(() => this.code.adopt(mine)), choose(() => this.code.reset())));
  }

  /** Done with the first run: to move every output when a page opens would lay all of it out once more. */
  #gather(): void {
    if (this.#isGathered) return;
    this.#stored.append(...this.#output.childNodes);
    this.#output.append(this.#stored);
    this.#isGathered = true;
  }

  #show(next: HTMLElement): void {
    next.hidden = false;
    next.classList.remove("tl-stale");
    this.#output.replaceChildren(next);
    this.#shown = next;
    this.#nameOutput();
  }

  /** An output is named for a listener; a place that has stayed empty is not worth a word. */
  #nameOutput(): void {
    const isWorthIt = this.#shown !== this.#stored || this.#hasStored;
    if (isWorthIt) this.#output.setAttribute("role", "group");
    else this.#output.removeAttribute("role");
    if (isWorthIt) this.#output.setAttribute("aria-label", `Output of cell ${this.index + 1}`);
    else this.#output.removeAttribute("aria-label");
  }

  /** The stored figure's caption holds for a live one too, as long as the code is the same. */
  #captionOf(code: string): HTMLElement[] {
    const caption = this.#stored.querySelector("figcaption");
    if (!caption || code !== this.code.source) return [];
    const words = [...caption.childNodes].map((node) => node.cloneNode(true));
    return [el("div", { class: "tl-caption" }, ...words)];
  }

  /** Show the buttons that make sense now. */
  #offer(): void {
    const pending = isPending(this.#state);
    const { toolbar, code } = this;
    toolbar.interrupt.hidden = !pending;
    toolbar.run.hidden = pending;
    toolbar.runAbove.hidden = pending || this.index === 0;
    toolbar.edit.hidden = code.isOpen;
    toolbar.edited.hidden = !code.isEdited;
    toolbar.reset.hidden = !code.isOpen && !code.isEdited && (this.#state.kind === "stored" || pending);
  }

  #onClick(event: MouseEvent): void {
    if (!(event.target instanceof Element) || this.code.isOpen) return;
    if (!event.target.closest("pre") || event.target.closest("a, button")) return;
    // A reader who drags over the code wants to copy it.
    if (window.getSelection()?.isCollapsed === false) return;
    void this.code.edit({ x: event.clientX, y: event.clientY });
  }

  #onKey(event: KeyboardEvent): void {
    if (event.key !== "Enter" || !(event.shiftKey || event.ctrlKey || event.metaKey) || event.defaultPrevented) return;
    if (!(event.target instanceof Element) || event.target.closest(OWN_KEYS)) return;
    event.preventDefault();
    if (!isPending(this.#state)) this.actions.run();
  }
}
