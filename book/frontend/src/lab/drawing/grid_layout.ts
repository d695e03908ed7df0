// Owns where the cells of a heat map stand. Pure.

export interface GridPlace {
  readonly row: number;
  readonly column: number;
}

export interface GridSize {
  readonly rows: number;
  readonly columns: number;
  readonly cellWidth: number;
  readonly cellHeight: number;
  readonly left: number;
  readonly top: number;
  readonly below: number;
  readonly width: number;
  readonly height: number;
  /** Whether the columns' labels stand upright. */
  readonly turned: boolean;
  readonly upwards: boolean;
}

interface Labelled {
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  readonly words?: unknown;
  readonly upwards?: boolean;
}

const LETTER = 6.6;
const LARGEST = { width: 52, height: 22 };
const SMALLEST = 3;

/** Lay out a grid in a place of this width; a grid that is too wide for readable cells is wider than its place. */
export function gridOf(labelled: Labelled, width: number): GridSize {
  const rows = labelled.rows.length;
  const columns = labelled.columns.length;
  const left = 14 + Math.min(90, LETTER * longest(labelled.rows));
  const room = (width - left - 6) / Math.max(columns, 1);
  const smallest = labelled.words === undefined ? SMALLEST : 40;
  const cellWidth = Math.max(smallest, Math.min(labelled.words === undefined ? LARGEST.width : 84, room));
  const cellHeight = Math.max(SMALLEST, Math.min(LARGEST.height, rows > 40 ? cellWidth : Math.max(12, cellWidth)));
  const turned = longest(labelled.columns) * LETTER > cellWidth;
  const below = turned ? Math.min(80, 16 + LETTER * longest(labelled.columns)) : 22;
  const top = 4;
  return {
    rows, columns, cellWidth, cellHeight, left, top, below, turned,
    width: Math.ceil(left + columns * cellWidth + 6),
    height: Math.ceil(top + rows * cellHeight + below),
    upwards: labelled.upwards ?? false,
  };
}

/** The cell at a point, or null beside the grid. */
export function placeAt(size: GridSize, x: number, y: number): GridPlace | null {
  const column = Math.floor((x - size.left) / size.cellWidth);
  const line = Math.floor((y - size.top) / size.cellHeight);
  if (column < 0 || column >= size.columns || line < 0 || line >= size.rows) return null;
  return { row: size.upwards ? size.rows - 1 - line : line, column };
}

function longest(labels: readonly string[]): number {
  return labels.reduce((most, label) => Math.max(most, [...label].length), 0);
}
