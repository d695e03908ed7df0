// Owns the Lab's state and who hears of its changes. It draws nothing and asks nothing.

import type { LabNow, LabStore } from "./app_contract";

type Listener = (now: LabNow, before: LabNow) => void;

export const FIRST: LabNow = {
  baseline: null,
  opening: { kind: "none" },
  selection: { position: 0, parts: [], place: null },
  mode: "look",
  experiment: { kind: "none" },
  history: [],
  connection: { kind: "frozen", canStart: false },
};

export class Store implements LabStore {
  #now: LabNow;
  readonly #listeners = new Set<Listener>();

  constructor(first: Partial<LabNow> = {}) {
    this.#now = { ...FIRST, ...first };
  }

  get now(): LabNow {
    return this.#now;
  }

  subscribe(listener: Listener, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.#listeners.add(listener);
    signal.addEventListener("abort", () => this.#listeners.delete(listener));
  }

  update(change: Partial<LabNow>): void {
    const before = this.#now;
    const now = { ...before, ...change };
    this.#now = now;
    for (const listener of [...this.#listeners]) {
      // One view that fails must not keep the others from hearing.
      try {
        if (this.#listeners.has(listener)) listener(now, before);
      } catch (error) {
        console.error(error);
      }
    }
  }
}
