// Owns the way of the keyboard through the pipeline: columns are readings and blocks, rows the parts of a block. Pure.

import type { Plan, Target } from "./layout";

/** Row 0 is the block as a whole, then its heads, attention whole, its MLP, the stream, and the lens. Column 0 is the embedding. */
export interface Cursor {
  readonly column: number;
  readonly row: number;
}

type Grid = Pick<Plan, "layers" | "heads">;

export function rowsOf({ heads }: Grid): number {
  return heads + 5;
}

export function targetOf(grid: Grid, cursor: Cursor, position: number): Target {
  const { heads } = grid;
  const layer = cursor.column - 1;
  const isReading = cursor.row >= heads + 3 || cursor.column === 0;
  if (isReading) return cursor.row === heads + 4 ? { kind: "lens", layer: cursor.column } : { kind: "stream", layer: cursor.column, position };
  if (cursor.row === 0) return { kind: "layer", layer };
  if (cursor.row <= heads) return { kind: "head", layer, head: cursor.row - 1 };
  return { kind: cursor.row === heads + 1 ? "attn" : "mlp", layer };
}

/** Where a key leads; null for a key that is none of the grid's. */
export function moved(grid: Grid, from: Cursor, key: string): Cursor | null {
  const inside = (column: number, row: number): Cursor => ({
    column: Math.min(Math.max(column, 0), grid.layers),
    row: Math.min(Math.max(row, 0), rowsOf(grid) - 1),
  });
  switch (key) {
    case "ArrowLeft":
      return inside(from.column - 1, from.row);
    case "ArrowRight":
      return inside(from.column + 1, from.row);
    case "ArrowUp":
      return inside(from.column, from.row - 1);
    case "ArrowDown":
      return inside(from.column, from.row + 1);
    case "Home":
      return inside(0, from.row);
    case "End":
      return inside(grid.layers, from.row);
    default:
      return null;
  }
}

/** The cursor on what was pointed at, so that keyboard and pointer go on from each other's place. */
export function cursorOf({ heads }: Grid, target: Target): Cursor | null {
  switch (target.kind) {
    case "layer":
      return { column: target.layer + 1, row: 0 };
    case "head":
      return { column: target.layer + 1, row: target.head + 1 };
    case "attn":
      return { column: target.layer + 1, row: heads + 1 };
    case "mlp":
      return { column: target.layer + 1, row: heads + 2 };
    case "stream":
      return { column: target.layer, row: heads + 3 };
    case "lens":
      return { column: target.layer, row: heads + 4 };
    case "token":
      return null;
  }
}
