// Owns the cells that wait for the kernel, and tells each its place. It runs nothing.

import type { Cell } from "./cell";

export interface Queued {
  readonly cell: Cell;
  /** The cell whose Run was pressed, where the reader looks for an answer; null for Run all. */
  readonly asked: Cell | null;
  /** Say what the cell needs from others before it runs. */
  readonly looksFirst: boolean;
  readonly place: { readonly cell: number; readonly of: number };
  readonly startedAt_ms: number;
}

export class Queue {
  #items: Queued[] = [];

  get first(): Queued | undefined {
    return this.#items[0];
  }

  get last(): Queued | undefined {
    return this.#items.at(-1);
  }

  holds(cell: Cell): boolean {
    return this.#items.some((queued) => queued.cell === cell);
  }

  add(items: readonly Queued[]): void {
    this.#items.push(...items);
    this.#showPlaces();
  }

  shift(): void {
    this.#items.shift();
    this.#showPlaces();
  }

  /** Nothing waits any longer; each cell shows what it showed before. */
  drop(): void {
    for (const { cell } of this.#items) cell.abandonRun();
    this.#items = [];
  }

  #showPlaces(): void {
    this.#items.forEach(({ cell }, index) => (cell.state = { kind: "queued", place: index + 1 }));
  }
}
