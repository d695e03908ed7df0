// Owns a cell's code: the book's, the reader's edit of it, and the editor. It runs nothing.

import { el } from "../dom";
import type { Assistant, MountedEditor } from "../editor/contract";
import { loadPart, type Host } from "../parts";
import { problemFrom, type Problem } from "../server_error";
import type { Edits } from "./edits";
import { markLine } from "./line_mark";

/** An edit is kept this long after the last key. */
const KEEP_AFTER_MS = 400;

export interface CodeActions {
  run(): void;
  /** The code is another one now, or the editor came or went. */
  changed(): void;
  say(problem: Problem): void;
  /** The browser does not keep the edit. */
  unkept(): void;
  readonly assistant: Assistant | null;
}

/** The book's code, without the last line's end. */
export function sourceOf(pre: Element | null): string {
  return pre?.textContent?.replace(/\n$/, "") ?? "";
}

export class CellCode {
  /** The book's code. */
  readonly source: string;
  /** An edit of an older text of the book, until the reader chooses. */
  readonly outdated: string | null;
  #mine: string | null;
  #editor: MountedEditor | null = null;
  #mounting: Promise<void> | null = null;
  #unmark: () => void = () => undefined;
  #keeping: ReturnType<typeof setTimeout> | undefined;
  /** The book's code in colours, while the reader's stands in its place. */
  #pristine: readonly Node[] | null = null;

  constructor(
    private readonly input: HTMLElement,
    private readonly index: number,
    private readonly host: Host,
    private readonly edits: Edits,
    private readonly actions: CodeActions,
    signal: AbortSignal,
  ) {
    this.source = sourceOf(this.#pre());
    const kept = edits.load(index, this.source);
    this.outdated = kept.kind === "outdated" ? kept.mine : null;
    this.#mine = kept.kind === "mine" ? kept.mine : null;
    if (this.#mine !== null) {
      this.#showMine();
      // Its colours can wait until the page is at rest.
      window.requestIdleCallback?.(() => void this.open());
    }
    window.addEventListener("pagehide", () => this.#keepNow(), { signal });
    signal.addEventListener("abort", () => this.#editor?.destroy());
  }

  get text(): string {
    return this.#mine ?? this.source;
  }

  get isEdited(): boolean {
    return this.text !== this.source;
  }

  get isOpen(): boolean {
    return this.#editor !== null;
  }

  /** Swap the code for an editor; the caret goes where the reader clicked. */
  async edit(at: { x: number; y: number } | null): Promise<void> {
    await this.open(at);
    this.#editor?.focus();
  }

  async open(at: { x: number; y: number } | null = null): Promise<void> {
    this.#mounting ??= this.#mount(at).catch((error: unknown) => {
      this.#mounting = null;
      this.actions.say({ ...problemFrom(error), message: "The editor did not load." });
    });
    await this.#mounting;
  }

  /** The book's code again; the edit is forgotten. */
  reset(): void {
    this.#close();
    this.#mine = null;
    clearTimeout(this.#keeping);
    this.edits.forget(this.index);
    if (this.#pristine) this.#pre().replaceChildren(...this.#pristine);
    this.#pristine = null;
    this.actions.changed();
  }

  /** Take an older edit for the present code. */
  adopt(code: string): void {
    this.#close();
    this.#mine = code;
    this.#keepNow();
    this.#showMine();
    this.actions.changed();
  }

  mark(line: number | null): void {
    this.#unmark();
    this.#unmark = () => undefined;
    this.#editor?.mark(line);
    if (line !== null && !this.#editor) this.#unmark = markLine(this.#pre(), line);
  }

  async goTo(line: number): Promise<void> {
    const fold = this.input.closest("details");
    if (fold) fold.open = true;
    await this.open();
    this.#editor?.goTo(line);
  }

  async #mount(at: { x: number; y: number } | null): Promise<void> {
    const editors = await loadPart(this.host.config, "editor");
    const block = this.#block();
    const parent = el("div", { class: "tl-editor" });
    block.before(parent);
    const mounted = editors.mount({
      parent,
      code: this.text,
      label: `Code of cell ${this.index + 1}`,
      at,
      assistant: this.actions.assistant,
      onRun: () => this.actions.run(),
      onChange: (code) => this.#take(code),
    });
    block.hidden = true;
    this.#editor = { ...mounted, destroy: () => (mounted.destroy(), parent.remove()) };
    this.actions.changed();
  }

  #close(): void {
    this.mark(null);
    this.#editor?.destroy();
    this.#editor = null;
    this.#mounting = null;
    this.#block().hidden = false;
  }

  #take(code: string): void {
    const wasEdited = this.isEdited;
    this.#mine = code;
    clearTimeout(this.#keeping);
    this.#keeping = setTimeout(() => this.#keepNow(), KEEP_AFTER_MS);
    if (wasEdited !== this.isEdited) this.actions.changed();
  }

  #keepNow(): void {
    clearTimeout(this.#keeping);
    if (this.#mine === null) return;
    if (!this.edits.save(this.index, this.source, this.#mine)) this.actions.unkept();
  }

  /** Until the editor is there, an edit stands as plain text. */
  #showMine(): void {
    const pre = this.#pre();
    this.#pristine ??= [...pre.childNodes];
    pre.textContent = `${this.text}\n`;
  }

  #pre(): HTMLElement {
    // The editor's code is no `pre`; outputs stand elsewhere.
    const pre = this.input.querySelector<HTMLElement>("pre");
    if (!pre) throw new Error(`cell ${this.index + 1}: expected a pre with code, got none`);
    return pre;
  }

  #block(): HTMLElement {
    return this.#pre().closest<HTMLElement>("[class*='highlight-']") ?? this.#pre();
  }
}
