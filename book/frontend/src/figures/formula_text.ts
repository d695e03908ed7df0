// Owns the way back from a set formula to what was typed, which KaTeX keeps beside its MathML.

/** The TeX of the first formula in `element`. */
export function typedIn(element: Element): string | null {
  return element.querySelector('annotation[encoding="application/x-tex"]')?.textContent?.trim() ?? null;
}
