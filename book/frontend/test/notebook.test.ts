import { beforeEach, describe, expect, test, vi } from "vitest";
import { Notebook } from "../src/cells/notebook";
import type { CellError, Completions, KernelEvents, LiveKernel, OutputEvent, RunResult } from "../src/live/contract";
import type { EditorOptions, MountedEditor } from "../src/editor/contract";
import { namesOf } from "../src/names/cell_names";
import { OutputArea } from "../src/live/output_area";
import type { Host } from "../src/parts";
import { ServerError } from "../src/server_error";

/** A kernel whose answers the test writes, run by run. */
class ScriptedKernel implements LiveKernel {
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
    return new Set(names.filter((name) => holds.has(name)));
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

const NAME_ERROR: CellError = { name: "NameError", message: "name 'x' is not defined", traceback: [], execution: 1 };
const PAGE = `
  <div class="cell tag_setup"><div class="cell_input"><pre>setup</pre></div></div>
  <div class="cell"><div class="cell_input"><pre>one\n</pre></div><div class="cell_output">stored one</div></div>
  <div class="cell"><div class="cell_input"><pre>two</pre></div><div class="cell_output">stored two</div></div>`;

let kernels: ScriptedKernel[];
let refusal: Error | null;
/** Names that the kernel's session holds already. */
let holds: Set<string>;
let asked: string[];
let notebook: Notebook;
let leave: AbortController;

/** An editor without CodeMirror, which needs a layout. */
const standIn = ({ parent, code, onChange }: EditorOptions): MountedEditor => {
  const area = document.createElement("textarea");
  area.value = code;
  area.addEventListener("input", () => onChange(area.value));
  parent.append(area);
  return { code: () => area.value, focus: () => area.focus(), mark: () => undefined, goTo: () => area.focus(), destroy: () => undefined };
};
const type = async (index: number, code: string): Promise<void> => {
  await press(cellElement(index), "Edit");
  const area = cellElement(index).querySelector("textarea") as HTMLTextAreaElement;
  area.value = code;
  area.dispatchEvent(new Event("input"));
};
const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));
const states = (): (string | undefined)[] => notebook.cells.map((cell) => cell.element.dataset["state"]);
const cellElement = (index: number): HTMLElement => notebook.cells[index]?.element as HTMLElement;
const press = async (root: ParentNode, words: string): Promise<void> => {
  const button = [...root.querySelectorAll("button")].find((each) => each.textContent?.startsWith(words) && !each.hidden);
  if (!button) throw new Error(`no button ${words}`);
  button.click();
  await settled();
};
const kernel = (): ScriptedKernel => kernels.at(-1) as ScriptedKernel;
const open = (live: boolean): void => {
  const host = { config: { page: "p", root: "", live, chat: false }, ask: (question: string) => void asked.push(question) } as Partial<Host> as Host;
  notebook = new Notebook([...document.querySelectorAll<HTMLElement>("div.cell")], host, leave.signal);
  document.body.prepend(notebook.bar.element);
};

beforeEach(() => {
  leave?.abort();
  leave = new AbortController();
  kernels = [];
  refusal = null;
  holds = new Set();
  asked = [];
  window.localStorage.clear();
  window.sessionStorage.clear();
  document.body.innerHTML = PAGE;
  window.tlParts = {
    editor: { mount: standIn },
    names: { namesOf },
    live: {
      openKernel: async (_, events, kept) => {
        await settled();
        if (refusal) throw refusal;
        kernels.push(new ScriptedKernel(events, kept ?? `${kernels.length}`.padStart(36, "0"), kept));
        return kernel();
      },
      openOutputs: (host, container, signal) => new OutputArea(host, container, signal),
      showStored: async () => undefined,
    },
  };
  open(true);
});

describe("running a cell", () => {
  test("starts one kernel, runs the set-up first, and shows the live output in place of the stored one", async () => {
    await press(cellElement(1), "Run");
    expect(document.body.dataset["kernel"]).toBe("starting");
    expect(states()).toEqual(["queued", "queued", "stored"]);
    await settled();
    await kernel().finish();
    expect(kernel().ran).toEqual(["setup", "one"]);
    const output = cellElement(1).querySelector<HTMLElement>(".cell_output");
    expect(output?.textContent).toBe("stored one");
    expect(output?.firstElementChild?.classList.contains("tl-stale")).toBe(true);
    kernel().say("live one");
    expect(output?.textContent).toBe("live one");
    await kernel().finish();
    expect(states()).toEqual(["live", "live", "stored"]);
    await press(cellElement(2), "Run");
    expect(kernels).toHaveLength(1);
    expect(kernel().ran).toEqual(["setup", "one", "two"]);
  });

  test("tells tests and benchmarks when it starts, shows and ends", async () => {
    const heard: string[] = [];
    for (const moment of ["start", "first-output", "done"]) {
      const listen = (event: Event): number => heard.push(`${moment} ${(event as CustomEvent).detail.cellIndex}`);
      document.addEventListener(`tl:run-${moment}`, listen, { signal: leave.signal });
    }
    await press(cellElement(0), "Run");
    await settled();
    kernel().say("x");
    await kernel().finish();
    expect(heard).toEqual(["start 0", "first-output 0", "done 0"]);
  });

  test("can be taken back: the stored output and the original code return", async () => {
    await press(cellElement(1), "Run");
    await settled();
    await kernel().finish();
    kernel().say("live");
    await kernel().finish();
    await press(cellElement(1), "Reset");
    expect(cellElement(1).querySelector(".tl-live")).toBeNull();
    expect(cellElement(1).querySelector(".cell_output")?.textContent).toBe("stored one");
    expect(states()[1]).toBe("stored");
  });

  test("a figure keeps its caption while its code is the same", async () => {
    const caption = "<figure>stored two<figcaption>What to see</figcaption></figure>";
    document.body.innerHTML = PAGE.replace("stored two", caption);
    open(true);
    await press(cellElement(2), "Run");
    await settled();
    await kernel().finish();
    kernel().say("live two");
    await kernel().finish();
    expect(cellElement(2).querySelector(".cell_output")?.textContent).toBe("live twoWhat to see");
  });

  test("a run without output leaves no stored output behind", async () => {
    await press(cellElement(1), "Run");
    await settled();
    await kernel().finish();
    await kernel().finish();
    expect(cellElement(1).querySelector(".cell_output")?.textContent).toBe("");
  });
});

describe("what a run shows", () => {
  test("its number in the kernel and its time, and the place of those that wait", async () => {
    await press(notebook.bar.element, "Run all");
    await settled();
    expect(cellElement(2).querySelector(".tl-place")?.textContent).toBe("1 before it");
    expect(notebook.bar.element.textContent).toContain("cell 1 of 3");
    await kernel().finish();
    expect(cellElement(0).querySelector(".tl-count")?.textContent).toBe("[7]");
    expect(cellElement(0).querySelector(".tl-clock")?.textContent).toMatch(/^\d+ ms$/);
    expect(cellElement(2).querySelector(".tl-place")?.textContent).toBe("next");
    expect(notebook.bar.element.textContent).toContain("cell 2 of 3");
    await kernel().finish();
    await kernel().finish();
    expect(notebook.bar.element.textContent).not.toContain("of 3");
  });

  test("Shift-Enter runs the cell that has the focus, but not what a widget is told", async () => {
    const enter = (): KeyboardEvent => new KeyboardEvent("keydown", { key: "Enter", shiftKey: true, bubbles: true, cancelable: true });
    cellElement(0).querySelector(".tl-stored")?.append(document.createElement("input"));
    cellElement(0).querySelector("input")?.dispatchEvent(enter());
    expect(states()[0]).toBe("stored");
    cellElement(0).dispatchEvent(enter());
    expect(states()[0]).toBe("queued");
  });

  test("Run all above brings along whatever has not run", async () => {
    await press(cellElement(2), "Run all above");
    await settled();
    for (let run = 0; run < 3; run += 1) await kernel().finish();
    expect(kernel().ran).toEqual(["setup", "one", "two"]);
  });

  test("a run whose end nobody saw says so", async () => {
    await press(cellElement(0), "Run");
    await settled();
    await kernel().finish({ kind: "unseen" });
    expect(cellElement(0).querySelector("[role=alert]")?.textContent).toContain("The connection broke while this cell ran.");
  });
});

describe("a cell that needs another", () => {
  const CODES = PAGE.replace("one\n", "model = 1\n").replace("two", "print(model)");

  test("says so before it fails, and runs both in order", async () => {
    document.body.innerHTML = CODES;
    open(true);
    await press(cellElement(2), "Run");
    await settled();
    await kernel().finish();
    expect(kernel().ran).toEqual(["setup"]);
    expect(states()[2]).toBe("stored");
    expect(cellElement(2).querySelector("[role=alert]")?.textContent).toContain("needs what cell 2 makes (model)");
    await press(cellElement(2), "Run cell 2 first");
    await kernel().finish();
    await kernel().finish();
    expect(kernel().ran).toEqual(["setup", "model = 1", "print(model)"]);
  });

  test("runs at once where the kernel holds the name already", async () => {
    document.body.innerHTML = CODES;
    holds.add("model");
    open(true);
    await press(cellElement(2), "Run");
    await settled();
    await kernel().finish();
    expect(kernel().ran).toEqual(["setup", "print(model)"]);
  });

  test("runs all the same when the reader wants it", async () => {
    document.body.innerHTML = CODES;
    open(true);
    await press(cellElement(2), "Run");
    await settled();
    await kernel().finish();
    await press(cellElement(2), "Run it all the same");
    expect(kernel().ran).toEqual(["setup", "print(model)"]);
  });
});

describe("an edit", () => {
  test("outlives the page, runs, and is forgotten by Reset", async () => {
    await type(1, "mine");
    expect(cellElement(1).querySelector<HTMLElement>(".tl-edited")?.hidden).toBe(false);
    window.dispatchEvent(new Event("pagehide"));
    document.body.innerHTML = PAGE;
    open(true);
    expect(cellElement(1).querySelector("pre")?.textContent).toBe("mine\n");
    await press(cellElement(1), "Run");
    await settled();
    await kernel().finish();
    expect(kernel().ran).toEqual(["setup", "mine"]);
    await kernel().finish();
    await press(cellElement(1), "Reset");
    expect(notebook.cells[1]?.code.text).toBe("one");
    expect(window.localStorage.length).toBe(0);
  });

  test("of an older text of the book waits for the reader's choice", async () => {
    await type(1, "mine");
    window.dispatchEvent(new Event("pagehide"));
    document.body.innerHTML = PAGE.replace("one\n", "new\n");
    open(true);
    expect(notebook.cells[1]?.code.text).toBe("new");
    expect(cellElement(1).querySelector(".tl-notice")?.textContent).toContain("The book's code has changed since your edit.");
    expect(cellElement(1).querySelector(".tl-notice pre")?.textContent).toBe("mine");
    await press(cellElement(1), "Use my edit");
    expect(notebook.cells[1]?.code.text).toBe("mine");
    expect(cellElement(1).querySelector(".tl-notice")).toBeNull();
  });

  test("that the browser cannot keep costs a sentence only", async () => {
    const refuse = vi.spyOn(Storage.prototype, "setItem").mockImplementation(() => {
      throw new DOMException("full", "QuotaExceededError");
    });
    await type(1, "mine");
    window.dispatchEvent(new Event("pagehide"));
    refuse.mockRestore();
    expect(notebook.bar.element.textContent).toContain("This browser does not keep your edits");
    expect(notebook.cells[1]?.code.text).toBe("mine");
  });

  test("is asked about once before the page is reset", async () => {
    await press(cellElement(2), "Run");
    await settled();
    await kernel().finish();
    await kernel().finish();
    await press(notebook.bar.element, "Reset page");
    expect(states()).toEqual(["stored", "stored", "stored"]);
    await type(1, "mine");
    await press(notebook.bar.element, "Reset page");
    expect(notebook.cells[1]?.code.text).toBe("mine");
    expect(notebook.bar.element.textContent).toContain("throws away your edits in cell 2");
    await press(notebook.bar.element, "Reset the page");
    expect(notebook.cells[1]?.code.text).toBe("one");
  });
});

describe("a failing cell", () => {
  test("marks its line and offers to explain it", async () => {
    document.body.innerHTML = PAGE.replace("<pre>two</pre>", "<pre><span>x = 1</span>\ny = <b>1 / 0</b>\nz = 2</pre>");
    open(true);
    await press(cellElement(2), "Run");
    await settled();
    await kernel().finish();
    const traceback = ["---", "\u001b[36mCell In[3], line 2\u001b[0m\n      1 x = 1\n----> 2 y = 1 / 0\n", "ZeroDivisionError: division by zero"];
    const error = { name: "ZeroDivisionError", message: "division by zero", traceback, execution: 3 };
    kernel().fail(error);
    await kernel().finish({ kind: "error", error });
    const mark = cellElement(2).querySelector("pre mark");
    expect(mark?.innerHTML).toBe("y = <b>1 / 0</b>");
    await press(cellElement(2), "Explain this");
    expect(asked[0]).toContain("`ZeroDivisionError: division by zero` at the line `y = 1 / 0`");
    await press(cellElement(2), "Run");
    expect(cellElement(2).querySelector("pre mark")).toBeNull();
    expect(notebook.cells[2]?.code.text).toBe("x = 1\ny = 1 / 0\nz = 2");
  });

  test("that misses a name offers to run what stands above", async () => {
    await press(cellElement(2), "Run");
    await settled();
    await kernel().finish();
    await kernel().finish({ kind: "error", error: NAME_ERROR });
    expect(states()).toEqual(["live", "stored", "error"]);
    await press(cellElement(2), "Run all cells above");
    await kernel().finish();
    await kernel().finish();
    expect(kernel().ran).toEqual(["setup", "two", "one", "two"]);
    expect(cellElement(2).querySelector(".tl-notice")).toBeNull();
    expect(states()).toEqual(["live", "live", "live"]);
  });

  test("that stood in the way of another is named there", async () => {
    await press(cellElement(1), "Run");
    await settled();
    await kernel().finish({ kind: "error", error: { ...NAME_ERROR, name: "ImportError" } });
    expect(cellElement(1).querySelector("[role=alert]")?.textContent).toContain("Cell 1 above failed");
  });

  test("stops what waits behind it, unless it is meant to fail", async () => {
    await press(notebook.bar.element, "Run all");
    await settled();
    await kernel().finish({ kind: "error", error: { ...NAME_ERROR, name: "ValueError" } });
    expect(states()).toEqual(["error", "stored", "stored"]);
    document.body.innerHTML = PAGE.replace("tag_setup", "tag_raises-exception");
    open(true);
    await press(notebook.bar.element, "Run all");
    await settled();
    await kernel().finish({ kind: "error", error: NAME_ERROR });
    expect(states()).toEqual(["error", "running", "queued"]);
  });
});

describe("the kernel's life", () => {
  test("an interrupt empties the queue and reaches the kernel", async () => {
    await press(notebook.bar.element, "Run all");
    await settled();
    await press(cellElement(0), "Interrupt");
    expect(kernel().isInterrupted).toBe(true);
    expect(states()).toEqual(["running", "stored", "stored"]);
  });

  test("a death is told at the cell, and a new kernel knows that nothing has run", async () => {
    await press(cellElement(1), "Run");
    await settled();
    await kernel().finish();
    kernel().events.onDead("died");
    await settled();
    expect(document.body.dataset["kernel"]).toBe("dead");
    expect(kernel().isClosed).toBe(true);
    expect(states()).toEqual(["live", "stored", "stored"]);
    await press(cellElement(1), "Start a new kernel");
    await settled();
    expect(document.body.dataset["kernel"]).toBe("ready");
    await press(cellElement(1), "Run");
    expect(kernel().ran).toEqual(["setup"]);
  });

  test("late words of an old kernel are not heard", async () => {
    await press(cellElement(0), "Run");
    await settled();
    const old = kernel();
    await notebook.newKernel();
    old.events.onDead("died");
    expect(document.body.dataset["kernel"]).toBe("ready");
  });

  test("a refusal shows the server's sentence and hint, and leaves the stored outputs", async () => {
    refusal = new ServerError({ code: "service-full", message: "All kernels are taken.", hint: "Wait.", status: 503 });
    await press(cellElement(1), "Run");
    await settled();
    expect(document.body.dataset["kernel"]).toBe("failed");
    expect(cellElement(1).querySelector("[role=alert]")?.textContent).toContain("All kernels are taken. Wait.");
    expect(states()).toEqual(["stored", "stored", "stored"]);
  });

  test("a death says what went with it, and a restart runs it all again", async () => {
    await press(cellElement(1), "Run");
    await settled();
    await kernel().finish();
    await kernel().finish();
    kernel().events.onDead("died");
    await settled();
    expect(notebook.bar.element.textContent).toContain("What cells 1 and 2 had computed is lost.");
    await press(notebook.bar.element, "Restart and run all above");
    await settled();
    await kernel().finish();
    await kernel().finish();
    expect(kernels).toHaveLength(2);
    expect(kernel().ran).toEqual(["setup", "one"]);
  });

  test("a kernel may be kept for the next page, which takes it up at once", async () => {
    await press(cellElement(0), "Run");
    await settled();
    notebook.bar.element.querySelector<HTMLInputElement>("input[role=switch]")?.click();
    window.dispatchEvent(new Event("pagehide"));
    expect(kernel()).toMatchObject({ isLeft: true, isClosed: false });
    leave.abort();
    leave = new AbortController();
    document.body.innerHTML = PAGE;
    open(true);
    await settled();
    await settled();
    expect(kernels).toHaveLength(2);
    expect(kernel().isKept).toBe(true);
    expect(notebook.bar.element.textContent).toContain("the kernel of the page before");
    notebook.bar.element.querySelector<HTMLInputElement>("input[role=switch]")?.click();
    window.dispatchEvent(new Event("pagehide"));
    expect(kernel().isClosed).toBe(true);
    expect(window.sessionStorage.length).toBe(0);
  });

  test("leaving the page gives the kernel back", async () => {
    await press(cellElement(0), "Run");
    await settled();
    window.dispatchEvent(new Event("pagehide"));
    expect(kernel().isClosed).toBe(true);
    expect(document.body.dataset["kernel"]).toBe("idle");
  });
});

test("the offline copy says how to run cells", async () => {
  document.body.innerHTML = PAGE;
  open(false);
  await press(cellElement(1), "Run");
  expect(cellElement(1).querySelector("[role=alert]")?.textContent).toContain("python3 noxfile.py serve");
  expect(states()).toEqual(["stored", "stored", "stored"]);
});
