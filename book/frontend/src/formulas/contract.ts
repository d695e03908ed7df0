// What page and build see of the script that sets formulas.

/** A formula as it was typed, without its marks; or a whole LaTeX output, text and formulas mixed. */
export interface Wanted {
  readonly kind: "inline" | "display" | "output";
  readonly source: string;
}

/** HTML with MathML, or one sentence that says why there is none. */
export type Outcome = { readonly html: string } | { readonly problem: string };

export interface FormulasPart {
  /** Set the formulas in the texts below `element`; one that cannot be set stays as it was typed. */
  typeset(element: HTMLElement): void;
  /** For the build. */
  setAll(wanted: readonly Wanted[]): Outcome[];
}
