// Owns the page's one kernel: how it is had, kept, and lost, and what is said about that. It knows no cell.

import type { EndOfKernel, KernelEvents, LiveKernel } from "../live/contract";
import { loadPart, type Host, type LivePart } from "../parts";
import { problemFrom, ServerError, type Problem } from "../server_error";
import { IdleWatch } from "./idle_watch";
import type { KeptKernel } from "./kept_kernel";
import { needsNewKernel, roundDuration, type KernelState } from "./states";

export interface Session {
  readonly live: LivePart;
  readonly kernel: LiveKernel;
}

export interface KernelListener {
  onState(state: KernelState): void;
  /** A kernel begins that knows nothing of this page. */
  onFresh(): void;
  /** It is gone, or could not be had; answers the same with what went with it. */
  onLost(problem: Problem): Problem;
  onIdle(warning: string | null): void;
}

export class PageKernel {
  #state: KernelState = { kind: "idle" };
  #session: Session | null = null;
  #opening: Promise<Session> | null = null;
  /** Counts kernels, so that the events of an old one are not taken for the present one's. */
  #generation = 0;
  readonly #idle: IdleWatch;

  constructor(
    private readonly host: Host,
    private readonly kept: KeptKernel,
    private readonly listener: KernelListener,
    signal: AbortSignal,
  ) {
    this.#idle = new IdleWatch((words) => listener.onIdle(this.#session ? words : null), signal);
  }

  get session(): Session | null {
    return this.#session;
  }

  /** Whether the reader stands in line for a kernel; closing gives the place up. */
  get isWaiting(): boolean {
    return this.#state.kind === "waiting";
  }

  open(): Promise<Session> {
    if (this.#session && !needsNewKernel(this.#state)) return Promise.resolve(this.#session);
    if (this.#opening) return this.#opening;
    const opening = this.#open().finally(() => {
      if (this.#opening === opening) this.#opening = null;
    });
    this.#opening = opening;
    return opening;
  }

  /** Load what a run needs, ahead of the press. */
  preload(): void {
    if (!this.host.config.live) return;
    for (const part of ["live", "names"] as const) void loadPart(this.host.config, part).catch(() => undefined);
  }

  /** Give the kernel back. */
  close(): void {
    this.#session?.kernel.close();
    this.kept.note(null);
    this.#drop({ kind: "idle" });
  }

  /** The page goes: the kernel goes with it, unless it is to be kept. */
  leave(): void {
    if (!this.kept.isOn) return this.close();
    this.#session?.kernel.leave();
    this.#drop({ kind: "idle" });
  }

  fail(thrown: unknown): void {
    const problem = problemFrom(thrown);
    if (problem.code !== SUPERSEDED.code) this.#lose({ kind: "failed", problem });
  }

  keep(isOn: boolean): void {
    this.kept.turn(isOn, this.#session?.kernel.id ?? null);
  }

  /** Tell the service that the kernel is still wanted. */
  touch(): void {
    this.#session?.kernel.touch().catch(() => undefined);
    this.#idle.active();
  }

  async #open(): Promise<Session> {
    const generation = ++this.#generation;
    this.#set({ kind: "starting" });
    const live = await loadPart(this.host.config, "live");
    const kernel = await live.openKernel(this.host, this.#events(generation), this.kept.id);
    if (generation !== this.#generation) {
      kernel.close();
      throw new ServerError(SUPERSEDED);
    }
    this.#session = { live, kernel };
    this.listener.onFresh();
    this.kept.note(kernel.id);
    this.#idle.watch(kernel.limits?.idle_s ?? null);
    // The first socket may have needed a second try.
    if (["starting", "waiting", "reconnecting"].includes(this.#state.kind)) this.#set({ kind: "ready" });
    return this.#session;
  }

  #events(generation: number): KernelEvents {
    const current = (act: () => void): void => {
      if (generation === this.#generation) act();
    };
    return {
      onWaiting: (place) => {
        current(() => this.#set({ kind: "waiting", place }));
        return generation === this.#generation;
      },
      onBusy: (busy) =>
        current(() => {
          this.#idle.active();
          this.#set({ kind: busy ? "busy" : "ready" });
        }),
      onReady: () => current(() => this.#set({ kind: "ready" })),
      onReconnecting: () => current(() => this.#set({ kind: "reconnecting" })),
      onDead: (end) => current(() => this.#lose({ kind: "dead", problem: this.#endOf(end) })),
      onFailed: (problem) => current(() => this.#lose({ kind: "failed", problem })),
    };
  }

  #endOf(end: EndOfKernel): Problem {
    const limit_s = this.#idle.exceeded_s;
    if (end === "died") return DIED;
    if (limit_s === null) return GONE;
    const message = `The service took this kernel back, because nothing had run for ${roundDuration(limit_s)}.`;
    return { ...GONE, message };
  }

  #lose(state: Extract<KernelState, { problem: Problem }>): void {
    this.#session?.kernel.close();
    this.kept.note(null);
    this.#drop({ ...state, problem: this.listener.onLost(state.problem) });
  }

  #drop(state: KernelState): void {
    this.#generation += 1;
    this.#session = null;
    this.#opening = null;
    this.#idle.watch(null);
    this.#set(state);
  }

  #set(state: KernelState): void {
    this.#state = state;
    this.listener.onState(state);
  }
}

const SUPERSEDED: Problem = { code: "superseded", message: "A newer kernel was asked for.", hint: "", status: 0 };
const AGAIN = "Start a new one and run the cells again.";
const DIED: Problem = { code: "kernel-dead", message: "The kernel died, perhaps for lack of memory.", hint: AGAIN, status: 0 };
const GONE: Problem = {
  code: "kernel-gone",
  message: "The service no longer has this kernel: it was started anew, or took the kernel back.",
  hint: AGAIN,
  status: 0,
};
