// Owns the cells of a page and the queue between them and the kernel. It draws nothing.

import type { CellError, RunResult } from "../live/contract";
import { unreachable } from "../dom";
import type { Host } from "../parts";
import { OFFLINE_COPY, problemFrom, type Problem } from "../server_error";
import { LabRefusal } from "../lab/app_contract";
import { assistantOf } from "./assistant";
import { Cell } from "./cell";
import { sourceOf } from "./cell_code";
import { Edits } from "./edits";
import { announce } from "./events";
import { exportPage } from "./export";
import { KeptKernel } from "./kept_kernel";
import { KernelBar } from "./kernel_bar";
import type { WidgetModel } from "../lab/sources/live";
import { Needs, sayLack } from "./needs";
import { PageKernel, type Session } from "./page_kernel";
import { planRun, planRunAbove } from "./plan";
import { Queue, type Queued } from "./queue";
import { failedAbove, NAME_MISSING, NOT_TAKEN_UP, TAKEN_UP, UNKEPT, UNSEEN, withLoss } from "./sentences";
import { cellList, type KernelState } from "./states";

export class Notebook {
  readonly cells: readonly Cell[];
  readonly bar: KernelBar;
  readonly #kernel: PageKernel;
  readonly #needs: Needs;
  readonly #queue = new Queue();
  #isPumping = false;
  #hasRun = new Set<Cell>();
  /** The cell that the reader ran last: up to there a restart leads. */
  #last: Cell | null = null;

  constructor(elements: readonly HTMLElement[], private readonly host: Host, signal: AbortSignal) {
    const kept = new KeptKernel();
    this.#needs = new Needs(host);
    this.bar = new KernelBar(this.#barActions(), !host.config.live, kept.isOn, signal);
    const listener = {
      onState: (state: KernelState) => this.bar.show(state),
      onFresh: () => this.#hasRun.clear(),
      onLost: (problem: Problem) => this.#lose(problem),
      onIdle: (warning: string | null) => this.bar.warnIdle(warning),
    };
    this.#kernel = new PageKernel(host, kept, listener, signal);
    const edits = new Edits(host.config.page);
    edits.arrange(elements.map((element) => sourceOf(element.querySelector(".cell_input pre"))));
    const assistant = host.config.live ? assistantOf(this.#kernel) : null;
    const shared = {
      edits,
      assistant,
      interrupt: () => this.interrupt(),
      expectRun: () => this.#kernel.preload(),
      unkept: () => this.bar.say(UNKEPT),
    };
    this.cells = elements.map((element, index) => {
      const own = { run: () => this.run(index), runAbove: () => this.runAbove(index) };
      return new Cell(element, index, host, { ...shared, ...own }, signal);
    });
    window.addEventListener("pagehide", () => this.#leave(), { signal });
    window.addEventListener("pageshow", (event) => event.persisted && this.#takeUp(kept), { signal });
    this.#takeUp(kept);
  }

  run(index: number): void {
    this.#enqueue(planRun(this.#facts(), index), this.cells[index], true);
  }

  runAbove(index: number): void {
    this.#enqueue(planRunAbove(this.#facts(), index), this.cells[index]);
  }

  runAll(): void {
    this.#enqueue(this.cells.map((cell) => cell.index));
  }

  interrupt(): void {
    this.#queue.drop();
    if (this.#kernel.isWaiting) return this.#kernel.close();
    this.#kernel.session?.kernel.interrupt().catch((error: unknown) => this.#kernel.fail(error));
  }

  async newKernel(): Promise<void> {
    this.#queue.drop();
    this.#kernel.close();
    await this.#kernel.open().catch((error: unknown) => this.#kernel.fail(error));
  }

  /** A new kernel, and in it everything down to the cell that was run last. */
  async restartAbove(): Promise<void> {
    const target = this.#last;
    await this.newKernel();
    if (target && this.#kernel.session) this.runAbove(target.index);
  }

  /** Start a Lab in the page's kernel, beside its cells. */
  async startLab(onLost: (reason: string) => void): Promise<WidgetModel> {
    try {
      const { live, kernel } = await this.#kernel.open();
      return await live.openLab(kernel, onLost);
    } catch (error) {
      throw new LabRefusal(asRefusal(problemFrom(error)));
    }
  }

  resetPage(): void {
    const edited = this.cells.filter((cell) => cell.code.isEdited);
    const reset = (): void => this.cells.forEach((cell) => cell.state.kind !== "running" && cell.reset());
    if (edited.length === 0) return reset();
    const which = cellList(edited.map((cell) => cell.index));
    this.bar.confirm(`Resetting the page throws away your edits in ${which}.`, "Reset the page", reset);
  }

  #barActions() {
    return {
      runAll: () => this.runAll(),
      interrupt: () => this.interrupt(),
      newKernel: () => void this.newKernel(),
      restartAbove: () => void this.restartAbove(),
      resetPage: () => this.resetPage(),
      stay: () => this.#kernel.touch(),
      keepKernel: (isOn: boolean) => this.#kernel.keep(isOn),
      downloadNotebook: () => exportPage(this.host.config, this.cells, "notebook"),
      downloadScript: () => exportPage(this.host.config, this.cells, "script"),
    };
  }

  #leave(): void {
    this.#queue.drop();
    this.#kernel.leave();
    this.#hasRun.clear();
  }

  /** A kernel that came along is taken up at once: without a page the service would soon take it back. */
  #takeUp(kept: KeptKernel): void {
    const id = kept.id;
    if (id === null || !this.host.config.live) return;
    const tell = ({ kernel }: Session): void => this.bar.say(kernel.id === id ? TAKEN_UP : NOT_TAKEN_UP);
    this.#kernel.open().then(tell, (error: unknown) => this.#kernel.fail(error));
  }

  #enqueue(indices: readonly number[], asked: Cell | null = null, looksFirst = false): void {
    const startedAt_ms = performance.now();
    const cells = indices.flatMap((index) => this.cells[index] ?? []);
    if (!this.host.config.live) {
      cells.at(-1)?.say(OFFLINE_COPY);
      return;
    }
    const items = cells.flatMap((cell, position): Queued[] => {
      if (this.#queue.holds(cell) || cell.state.kind === "running") return [];
      cell.say(null);
      announce("start", cell.index, startedAt_ms);
      const place = { cell: position + 1, of: cells.length };
      return [{ cell, asked, looksFirst: looksFirst && cell === asked, place, startedAt_ms }];
    });
    this.#queue.add(items);
    this.#last = cells.at(-1) ?? this.#last;
    this.bar.aim(this.#last && cellList([this.#last.index]));
    void this.#pump();
  }

  async #pump(): Promise<void> {
    if (this.#isPumping) return;
    this.#isPumping = true;
    try {
      for (let next = this.#queue.first; next; next = this.#queue.first) {
        const session = await this.#kernel.open();
        const isHeld = next.looksFirst && (await this.#holdBack(session, next));
        // The queue may have been emptied meanwhile, by an interrupt or with the kernel.
        if (this.#queue.first !== next) continue;
        this.#queue.shift();
        if (isHeld) next.cell.abandonRun();
        else await this.#runOne(session, next);
      }
    } catch (error) {
      this.#kernel.fail(error);
    } finally {
      this.#isPumping = false;
      this.bar.progress(null);
    }
  }

  /** Whether the cell reads what cells above have yet to make; then it says so instead of failing. */
  async #holdBack(session: Session, { cell }: Queued): Promise<boolean> {
    const codes = this.cells.map((each) => each.code.text);
    const lack = await this.#needs.lackOf(codes, cell.index, session.kernel);
    if (lack.cells.length === 0) return false;
    const first = { words: `Run ${cellList(lack.cells)} first`, press: () => this.#enqueue([...lack.cells, cell.index], cell) };
    const anyway = { words: "Run it all the same", press: () => this.#enqueue([cell.index], cell) };
    cell.say({ message: sayLack(lack), hint: "" }, [first, anyway]);
    return true;
  }

  async #runOne(session: Session, { cell, place, startedAt_ms }: Queued): Promise<void> {
    this.bar.progress(place.of > 1 ? place : null);
    const outputs = cell.beginRun(session.live, startedAt_ms);
    const result = await session.kernel.run(cell.code.text, (event) => outputs.handle(event));
    if (cell.state.kind !== "running") return;
    if (result.kind !== "lost") await outputs.finish();
    this.#end(cell, result);
    announce("done", cell.index, startedAt_ms);
  }

  #end(cell: Cell, result: RunResult): void {
    switch (result.kind) {
      case "ok":
        this.#hasRun.add(cell);
        return cell.endRun({ kind: "live" }, result.execution);
      case "error":
        cell.endRun({ kind: "error", name: result.error.name }, result.error.execution);
        cell.showFailure(result.error);
        return this.#afterError(cell, result.error);
      case "unseen":
        this.#hasRun.add(cell);
        cell.endRun({ kind: "live" }, null);
        return cell.say(UNSEEN, [{ words: "Run it again", press: () => this.run(cell.index) }]);
      case "lost":
        return cell.abandonRun();
      default:
        return unreachable(result);
    }
  }

  #afterError(cell: Cell, error: CellError): void {
    if (cell.mayFail) {
      this.#hasRun.add(cell);
      return;
    }
    const asked = this.#queue.last?.asked;
    this.#queue.drop();
    asked?.say(failedAbove(cell.index));
    if (error.name !== "NameError" || planRunAbove(this.#facts(), cell.index).length === 1) return;
    const press = (): void => this.runAbove(cell.index);
    cell.say(NAME_MISSING, [{ words: "Run all cells above, then this one", press }]);
  }

  /** The kernel is gone: the waiting cell hears why and how to go on; answers the problem with what went with it. */
  #lose(problem: Problem): Problem {
    const had = this.cells.filter((cell) => this.#hasRun.has(cell)).map((cell) => cell.index);
    const waiting = this.cells.find((cell) => cell.state.kind === "running") ?? this.#queue.first?.asked;
    this.#hasRun.clear();
    this.#queue.drop();
    const whole = withLoss(problem, had);
    const fresh = { words: "Start a new kernel", press: () => void this.newKernel().then(() => waiting?.say(null)) };
    const again = { words: "Restart and run all above", press: () => void this.restartAbove() };
    waiting?.say(whole, waiting.index === 0 ? [fresh] : [again, fresh]);
    return whole;
  }

  #facts(): { isSetup: boolean; hasRun: boolean }[] {
    return this.cells.map((cell) => ({ isSetup: cell.isSetup, hasRun: this.#hasRun.has(cell) }));
  }
}

function asRefusal({ code, message, hint }: Problem): { readonly message: string; readonly code: string } {
  return { message: `${message} ${hint}`.trim(), code };
}
