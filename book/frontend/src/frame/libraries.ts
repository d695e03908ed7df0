// Owns which library an address or module name means. Pure.

export type LibraryName = "d3" | "jquery" | "require";

const PATTERNS: readonly (readonly [RegExp, LibraryName])[] = [
  [/(^|\/)require(js)?([.-][\w.]*)?$/i, "require"],
  [/(^|\/)d3(\.v\d)?([.-][\w.]*)?$/i, "d3"],
  [/(^|\/)jquery([.-][\w.]*)?$/i, "jquery"],
];

/** The library behind `https://elsewhere/d3/5.7.0/d3.min.js` or `d3`; null for anything that the book does not carry. */
export function localCopy(address: string): LibraryName | null {
  const path = address.replace(/[?#].*$/, "");
  return PATTERNS.find(([pattern]) => pattern.test(path))?.[1] ?? null;
}
