// Owns the cells of a page, their one kernel and the queue between them. It draws nothing.

import type { CellError, KernelEvents, LiveKernel } from "../live/contract";
import { loadPart, type Host, type LivePart } from "../parts";
import { OFFLINE_COPY, problemFrom, ServerError, type Problem } from "../server_error";
import { Cell } from "./cell";
import { announce } from "./events";
import { KernelBar } from "./kernel_bar";
import { planRun, planRunAbove } from "./plan";
import { needsNewKernel, type KernelState } from "./states";

interface Queued {
  readonly cell: Cell;
  /** The cell whose Run was pressed, where the reader looks for an answer; null for Run all. */
  readonly asked: Cell | null;
  readonly startedAt_ms: number;
}

interface Session {
  readonly live: LivePart;
  readonly kernel: LiveKernel;
}

export class Notebook {
  readonly cells: readonly Cell[];
  readonly bar: KernelBar;
  #kernel: KernelState = { kind: "idle" };
  #session: Session | null = null;
  /** Counts kernels, so that the events of an old one are not taken for the present one's. */
  #generation = 0;
  #queue: Queued[] = [];
  #isPumping = false;
  #hasRun = new Set<Cell>();

  constructor(elements: readonly HTMLElement[], private readonly host: Host, signal: AbortSignal) {
    this.cells = elements.map((element, index) => {
      const actions = {
        run: () => this.run(index),
        interrupt: () => this.interrupt(),
        expectRun: () => this.#preload(),
      };
      return new Cell(element, index, host, actions, signal);
    });
    const actions = {
      runAll: () => this.runAll(),
      interrupt: () => this.interrupt(),
      newKernel: () => void this.newKernel(),
    };
    this.bar = new KernelBar(actions, !host.config.live, signal);
    window.addEventListener("pagehide", () => this.close(), { signal });
  }

  run(index: number): void {
    this.#enqueue(planRun(this.#facts(), index), this.cells[index]);
  }

  runAbove(index: number): void {
    this.#enqueue(planRunAbove(this.#facts(), index), this.cells[index]);
  }

  runAll(): void {
    this.#enqueue(this.cells.map((cell) => cell.index));
  }

  interrupt(): void {
    this.#dropQueue();
    this.#session?.kernel.interrupt().catch((error: unknown) => this.#fail(problemFrom(error)));
  }

  async newKernel(): Promise<void> {
    this.close();
    await this.#open().catch((error: unknown) => this.#fail(problemFrom(error)));
  }

  close(): void {
    this.#generation += 1;
    this.#dropQueue();
    this.#session?.kernel.close();
    this.#session = null;
    this.#hasRun.clear();
    this.#setKernel({ kind: "idle" });
  }

  #enqueue(indices: readonly number[], asked: Cell | null = null): void {
    const startedAt_ms = performance.now();
    const cells = indices.flatMap((index) => this.cells[index] ?? []);
    if (!this.host.config.live) {
      cells.at(-1)?.say(OFFLINE_COPY);
      return;
    }
    for (const cell of cells) {
      if (this.#queue.some((queued) => queued.cell === cell) || cell.state.kind === "running") continue;
      cell.say(null);
      cell.state = { kind: "queued" };
      this.#queue.push({ cell, asked, startedAt_ms });
      announce("start", cell.index, startedAt_ms);
    }
    void this.#pump();
  }

  async #pump(): Promise<void> {
    if (this.#isPumping) return;
    this.#isPumping = true;
    try {
      for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
        const session = await this.#open();
        // The queue may have been emptied by an interrupt while the kernel started.
        if (this.#queue[0] !== next) continue;
        this.#queue.shift();
        await this.#runOne(session, next);
      }
    } catch (error) {
      this.#fail(problemFrom(error));
    } finally {
      this.#isPumping = false;
    }
  }

  async #runOne(session: Session, { cell, startedAt_ms }: Queued): Promise<void> {
    const outputs = cell.beginRun(session.live, startedAt_ms);
    const result = await session.kernel.run(cell.code(), (event) => outputs.handle(event));
    if (cell.state.kind !== "running") return;
    switch (result.kind) {
      case "ok":
        await outputs.finish();
        this.#hasRun.add(cell);
        cell.state = { kind: "live" };
        break;
      case "error":
        await outputs.finish();
        cell.state = { kind: "error", name: result.error.name };
        this.#afterError(cell, result.error);
        break;
      case "lost":
        cell.abandonRun();
        break;
    }
    announce("done", cell.index, startedAt_ms);
  }

  #afterError(cell: Cell, error: CellError): void {
    if (cell.mayFail) {
      this.#hasRun.add(cell);
      return;
    }
    const asked = this.#queue.at(-1)?.asked;
    this.#dropQueue();
    asked?.say({ message: `Cell ${cell.index + 1} above failed, so this one did not run.`, hint: "Look at its output first." });
    if (error.name !== "NameError" || planRunAbove(this.#facts(), cell.index).length === 1) return;
    const hint = "Cells above have not run in this kernel yet; this one may need them.";
    const press = (): void => this.runAbove(cell.index);
    cell.say({ message: "A name is missing.", hint }, [{ words: "Run all cells above, then this one", press }]);
  }

  async #open(): Promise<Session> {
    if (this.#session && !needsNewKernel(this.#kernel)) return this.#session;
    const generation = ++this.#generation;
    this.#setKernel({ kind: "starting" });
    const live = await loadPart(this.host.config, "live");
    const kernel = await live.openKernel(this.host, this.#events(generation));
    if (generation !== this.#generation) {
      kernel.close();
      throw new ServerError(SUPERSEDED);
    }
    this.#hasRun.clear();
    this.#session = { live, kernel };
    if (this.#kernel.kind === "starting") this.#setKernel({ kind: "ready" });
    return this.#session;
  }

  #events(generation: number): KernelEvents {
    const current = (act: () => void): void => {
      if (generation === this.#generation) act();
    };
    return {
      onBusy: (busy) => current(() => this.#setKernel({ kind: busy ? "busy" : "ready" })),
      onReady: () => current(() => this.#setKernel({ kind: "ready" })),
      onReconnecting: () => current(() => this.#setKernel({ kind: "reconnecting" })),
      onDead: () => current(() => this.#lose({ kind: "dead" })),
      onFailed: (problem) => current(() => this.#lose({ kind: "failed", problem })),
    };
  }

  #lose(state: KernelState): void {
    this.#session?.kernel.close();
    this.#session = null;
    this.#hasRun.clear();
    const waiting = this.cells.find((cell) => cell.state.kind === "running") ?? this.#queue[0]?.asked;
    this.#dropQueue();
    this.#setKernel(state);
    const again = { words: "Start a new kernel", press: () => void this.newKernel().then(() => waiting?.say(null)) };
    if (state.kind === "failed") waiting?.say(state.problem, [again]);
    if (state.kind === "dead") waiting?.say(DIED, [again]);
  }

  #fail(problem: Problem): void {
    if (problem.code !== SUPERSEDED.code) this.#lose({ kind: "failed", problem });
  }

  #dropQueue(): void {
    for (const { cell } of this.#queue) cell.abandonRun();
    this.#queue = [];
  }

  #facts(): { isSetup: boolean; hasRun: boolean }[] {
    return this.cells.map((cell) => ({ isSetup: cell.isSetup, hasRun: this.#hasRun.has(cell) }));
  }

  #setKernel(state: KernelState): void {
    this.#kernel = state;
    this.bar.show(state);
  }

  #preload(): void {
    if (this.host.config.live) void loadPart(this.host.config, "live").catch(() => undefined);
  }
}

const SUPERSEDED: Problem = { code: "superseded", message: "A newer kernel was asked for.", hint: "", status: 0 };
const DIED: Problem = {
  code: "kernel-dead",
  message: "The kernel died while this cell ran, perhaps for lack of memory.",
  hint: "What it had computed is gone: start a new one and run the cells again.",
  status: 0,
};
