// Owns which cells a press of Run brings along. Pure: it knows neither the page nor the kernel.

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

function needs(cell: CellFacts | undefined, onlySetup: boolean): boolean {
  return cell !== undefined && !cell.hasRun && (cell.isSetup || !onlySetup);
}

function indices(cells: readonly unknown[]): number[] {
  return Array.from(cells.keys());
}
