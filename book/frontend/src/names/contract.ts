// Owns the words that the page and the reading of names share. It runs nothing.

/** The names that a cell binds, and those that it reads without having bound them. */
export interface CellNames {
  readonly defines: readonly string[];
  readonly uses: readonly string[];
}
