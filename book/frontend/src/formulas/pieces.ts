// Owns where formulas stand in a text: between \(…\), \[…\], and in environments. Pure.

export type Piece =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "inline" | "display"; readonly tex: string; readonly typed: string };

/** A backslash before it would make a line break of it, as in `\\[2pt]`. */
const OPENING = /(?<!\\)\\(?:([([])|begin\s*\{([A-Za-z]+\*?)\})/g;

/** Whether a text may hold a formula. */
export function hasFormula(text: string): boolean {
  return text.search(OPENING) >= 0;
}

/** A text in its order; what is opened and never closed is text. */
export function piecesOf(text: string): Piece[] {
  const pieces: Piece[] = [];
  let said = 0;
  for (const match of text.matchAll(OPENING)) {
    if (match.index < said) continue;
    const piece = match[2] === undefined ? bracketed(text, match.index, match[1] === "(") : environment(text, match.index, match[2]);
    if (!piece) continue;
    if (match.index > said) pieces.push({ kind: "text", text: text.slice(said, match.index) });
    pieces.push(piece);
    said = match.index + piece.typed.length;
  }
  if (said < text.length) pieces.push({ kind: "text", text: text.slice(said) });
  return pieces;
}

/** `$…$` as `\(…\)`; what has no marks at all is one formula. */
export function delimited(source: string): string {
  const text = source
    .replace(/\$\$([^$]+)\$\$/g, (_, tex: string) => `\\[${tex}\\]`)
    .replace(/\$(?!\s)([^$\n]*[^$\s\\])\$(?!\d)/g, (_, tex: string) => `\\(${tex}\\)`);
  return /\\[([]|\\begin\{/.test(text) ? text : `\\[${text}\\]`;
}

function bracketed(text: string, start: number, isInline: boolean): Extract<Piece, { typed: string }> | null {
  const closing = isInline ? /(?<!\\)\\\)/g : /(?<!\\)\\\]/g;
  closing.lastIndex = start + 2;
  const end = closing.exec(text);
  if (!end) return null;
  return { kind: isInline ? "inline" : "display", tex: text.slice(start + 2, end.index), typed: text.slice(start, end.index + 2) };
}

/** An environment is its own formula; the same one may stand inside it. */
function environment(text: string, start: number, name: string): Extract<Piece, { typed: string }> | null {
  const marks = new RegExp(`\\\\(begin|end)\\s*\\{${name.replace("*", "\\*")}\\}`, "g");
  marks.lastIndex = start;
  let depth = 0;
  for (let mark = marks.exec(text); mark; mark = marks.exec(text)) {
    depth += mark[1] === "begin" ? 1 : -1;
    if (depth > 0) continue;
    const typed = text.slice(start, marks.lastIndex);
    return { kind: "display", tex: typed, typed };
  }
  return null;
}
