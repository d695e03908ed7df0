// Owns a page of three cells whose kernels a test scripts: the tests of the notebook open, press, type and read here.
import { Notebook } from "../src/cells/notebook";
import type { CellError, Completions, KernelEvents, LiveKernel, OutputEvent, RunResult } from "../src/live/contract";
import type { EditorOptions, MountedEditor } from "../src/editor/contract";
import { namesOf } from "../src/names/cell_names";
import { OutputArea } from "../src/live/output_area";
import type { Host } from "../src/parts";

/** A kernel whose answers the test writes, run by run. */
export class ScriptedKernel implements LiveKernel {
  readonly ran: string[] = [];
  readonly limits = null;
  readonly isKept: boolean;
  isClosed = false;
  isLeft = false;
  isInterrupted = false;
  #finish: ((result: RunResult) => void) | null = null;
  #onOutput: ((event: OutputEvent) => void) | null = null;

  constructor(readonly events: KernelEvents, readonly id: string, kept: string | null) {
    this.isKept = kept === id;
  }

  async touch(): Promise<void> {}

  async complete(): Promise<Completions> {
    return { from: 0, to: 0, names: [] };
  }

  async inspect(): Promise<string> {
    return "";
  }

  async known(names: readonly string[]): Promise<ReadonlySet<string>> {
    return new Set(names.filter((name) => stage.holds.has(name)));
  }

  async show(): Promise<Record<string, never>> {
    return {};
  }

  leave(): void {
    this.isLeft = true;
  }

  run(code: string, onOutput: (event: OutputEvent) => void): Promise<RunResult> {
    this.ran.push(code);
    this.#onOutput = onOutput;
    return new Promise((resolve) => (this.#finish = resolve));
  }

  say(text: string): void {
    this.#onOutput?.({ kind: "stream", name: "stdout", text });
  }

  fail(error: CellError): void {
    this.#onOutput?.({ kind: "error", error });
  }

  async finish(result: RunResult = { kind: "ok", execution: 7 }): Promise<void> {
    this.#finish?.(result);
    await settled();
  }

  async interrupt(): Promise<void> {
    this.isInterrupted = true;
  }

  close(): void {
    this.isClosed = true;
    this.#finish?.({ kind: "lost" });
  }
}

export const NAME_ERROR: CellError = { name: "NameError", message: "name 'x' is not defined", traceback: [], execution: 1 };
export const PAGE = `
  <div class="cell tag_setup"><div class="cell_input"><pre>setup</pre></div></div>
  <div class="cell"><div class="cell_input"><pre>one\n</pre></div><div class="cell_output">stored one</div></div>
  <div class="cell"><div class="cell_input"><pre>two</pre></div><div class="cell_output">stored two</div></div>`;

interface Stage {
  kernels: ScriptedKernel[];
  /** What the service says to the wish for a kernel, if it refuses. */
  refusal: Error | null;
  /** Names that the kernel's session holds already. */
  holds: Set<string>;
  asked: string[];
  notebook: Notebook;
  leave: AbortController;
}

/** What stands on the stage of the running test; `setStage` makes it anew. */
export const stage = {} as Stage;

/** An editor without CodeMirror, which needs a layout. */
const standIn = ({ parent, code, onChange }: EditorOptions): MountedEditor => {
  const area = document.createElement("textarea");
  area.value = code;
  area.addEventListener("input", () => onChange(area.value));
  parent.append(area);
  return { code: () => area.value, focus: () => area.focus(), mark: () => undefined, goTo: () => area.focus(), destroy: () => undefined };
};

export const type = async (index: number, code: string): Promise<void> => {
  await press(cellElement(index), "Edit");
  const area = cellElement(index).querySelector("textarea") as HTMLTextAreaElement;
  area.value = code;
  area.dispatchEvent(new Event("input"));
};

export const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));
export const states = (): (string | undefined)[] => stage.notebook.cells.map((cell) => cell.element.dataset["state"]);
export const cellElement = (index: number): HTMLElement => stage.notebook.cells[index]?.element as HTMLElement;

export const press = async (root: ParentNode, words: string): Promise<void> => {
  const button = [...root.querySelectorAll("button")].find((each) => each.textContent?.startsWith(words) && !each.hidden);
  if (!button) throw new Error(`no button ${words}`);
  button.click();
  await settled();
};

export const kernel = (): ScriptedKernel => stage.kernels.at(-1) as ScriptedKernel;

/** Open what stands in the document as a page of the book, with the kernel service or without it. */
export const open = (live: boolean): void => {
  const host = { config: { page: "p", root: "", live, chat: false }, ask: (question: string) => void stage.asked.push(question) } as Partial<Host> as Host;
  stage.notebook = new Notebook([...document.querySelectorAll<HTMLElement>("div.cell")], host, stage.leave.signal);
  document.body.prepend(stage.notebook.bar.element);
};

/** Leave the page as a link does: what listened to it no longer does. */
export const leavePage = (): void => {
  stage.leave?.abort();
  stage.leave = new AbortController();
};

/** Before each test: nothing kept from the one before, and the page of three cells open. */
export const setStage = (): void => {
  leavePage();
  Object.assign(stage, { kernels: [], refusal: null, holds: new Set(), asked: [] });
  window.localStorage.clear();
  window.sessionStorage.clear();
  document.body.innerHTML = PAGE;
  window.tlParts = {
    editor: { mount: standIn },
    names: { namesOf },
    live: {
      openKernel: async (_, events, kept) => {
        await settled();
        if (stage.refusal) throw stage.refusal;
        stage.kernels.push(new ScriptedKernel(events, kept ?? `${stage.kernels.length}`.padStart(36, "0"), kept));
        return kernel();
      },
      openOutputs: (host, container, signal) => new OutputArea(host, container, signal),
      openLab: () => Promise.reject(new Error("no Lab in this script")),
      showStored: async () => undefined,
    },
  };
  open(true);
};
