// Owns which cells a press of Run brings along. Pure: it knows neither the page nor the kernel.

import type { CellNames } from "../names/contract";

export interface CellFacts {
  /** Tagged `setup`: every other cell may count on it. */
  readonly isSetup: boolean;
  /** Has run in the present kernel without an error. */
  readonly hasRun: boolean;
}

/** The cells to run for one press: setup cells above that this kernel has not seen, then the cell itself. */
export function planRun(cells: readonly CellFacts[], target: number): number[] {
  const setup = indices(cells).filter((index) => index < target && needs(cells[index], true));
  return [...setup, target];
}

/** Every cell above that this kernel has not seen, then the cell itself. */
export function planRunAbove(cells: readonly CellFacts[], target: number): number[] {
  const above = indices(cells).filter((index) => index < target && needs(cells[index], false));
  return [...above, target];
}

/** What a cell lacks: names that cells above would make, and those cells in the page's order. */
export interface Lack {
  readonly names: readonly string[];
  readonly cells: readonly number[];
}

/** What `target` reads that is not `known`, with what the cells that make it read in their turn. */
export function planNeeded(cells: readonly CellNames[], target: number, known: ReadonlySet<string>): Lack {
  const names = new Set<string>();
  const needed = new Set<number>();
  const open = [target];
  for (let index = open.pop(); index !== undefined; index = open.pop()) {
    for (const name of cells[index]?.uses ?? []) {
      const maker = known.has(name) ? -1 : lastMaker(cells, name, index);
      if (maker === -1) continue;
      names.add(name);
      if (!needed.has(maker)) open.push(maker);
      needed.add(maker);
    }
  }
  return { names: [...names], cells: [...needed].sort((a, b) => a - b) };
}

function lastMaker(cells: readonly CellNames[], name: string, before: number): number {
  return cells.slice(0, before).findLastIndex(({ defines }) => defines.includes(name));
}

function needs(cell: CellFacts | undefined, onlySetup: boolean): boolean {
  return cell !== undefined && !cell.hasRun && (cell.isSetup || !onlySetup);
}

function indices(cells: readonly unknown[]): number[] {
  return Array.from(cells.keys());
}
