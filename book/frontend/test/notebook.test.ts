import { beforeEach, describe, expect, test } from "vitest";
import { Notebook } from "../src/cells/notebook";
import type { CellError, KernelEvents, LiveKernel, OutputEvent, RunResult } from "../src/live/contract";
import { OutputArea } from "../src/live/output_area";
import type { Host } from "../src/parts";
import { ServerError } from "../src/server_error";

/** A kernel whose answers the test writes, run by run. */
class ScriptedKernel implements LiveKernel {
  readonly ran: string[] = [];
  isClosed = false;
  isInterrupted = false;
  #finish: ((result: RunResult) => void) | null = null;
  #onOutput: ((event: OutputEvent) => void) | null = null;

  constructor(readonly events: KernelEvents) {}

  run(code: string, onOutput: (event: OutputEvent) => void): Promise<RunResult> {
    this.ran.push(code);
    this.#onOutput = onOutput;
    return new Promise((resolve) => (this.#finish = resolve));
  }

  say(text: string): void {
    this.#onOutput?.({ kind: "stream", name: "stdout", text });
  }

  async finish(result: RunResult = { kind: "ok" }): Promise<void> {
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
let notebook: Notebook;
let leave: AbortController;

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
  const host = { config: { page: "p", root: "", live, chat: false } } as Host;
  notebook = new Notebook([...document.querySelectorAll<HTMLElement>("div.cell")], host, leave.signal);
  document.body.prepend(notebook.bar.element);
};

beforeEach(() => {
  leave?.abort();
  leave = new AbortController();
  kernels = [];
  refusal = null;
  document.body.innerHTML = PAGE;
  window.tlParts = {
    live: {
      openKernel: async (_, events) => {
        await settled();
        if (refusal) throw refusal;
        kernels.push(new ScriptedKernel(events));
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

describe("a failing cell", () => {
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
    kernel().events.onDead();
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
    old.events.onDead();
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
