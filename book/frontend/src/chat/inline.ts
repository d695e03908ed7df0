// Owns the little markup of answers: **bold**, `code` and citations. Pure: text in, a list of spans out.

import { unreachable } from "../dom";
import type { Piece } from "./messages";

export type Inline =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "bold"; readonly text: string }
  | { readonly kind: "code"; readonly text: string }
  | { readonly kind: "cite"; readonly n: number };

/** Marks a citation inside the joined text; the pieces themselves cannot contain these characters. */
const OPEN = "\u{E000}";
const CLOSE = "\u{E001}";
const TOKENS = /\*\*(?<bold>[^*]+?)\*\*|`(?<code>[^`\n]+)`|\u{E000}(?<cite>\d+)\u{E001}|\[(?<written>\d{1,2})\]/gu;

/** Read the pieces of an answer so far. Quoted sentences are set apart by a space, a model's pieces join as they come. */
export function inlines(pieces: readonly Piece[], isQuoted: boolean, known: ReadonlySet<number>): Inline[] {
  const text = join(pieces, isQuoted);
  const spans: Inline[] = [];
  let at = 0;
  for (const match of text.matchAll(TOKENS)) {
    spans.push(...plain(text.slice(at, match.index)));
    spans.push(...token(match[0], match.groups ?? {}, known));
    at = match.index + match[0].length;
  }
  spans.push(...plain(text.slice(at)));
  return spans;
}

export function textOf(span: Inline): string {
  switch (span.kind) {
    case "text":
    case "bold":
    case "code":
      return span.text;
    case "cite":
      return `[${span.n}]`;
    default:
      return unreachable(span);
  }
}

function join(pieces: readonly Piece[], isQuoted: boolean): string {
  let text = "";
  for (const piece of pieces) {
    const clean = piece.text.replaceAll(OPEN, "").replaceAll(CLOSE, "");
    if (isQuoted && text !== "" && !/\s$/.test(text) && !/^\s/.test(clean)) text += " ";
    text += clean + [...new Set(piece.cites)].map((n) => OPEN + n + CLOSE).join("");
  }
  return text;
}

function token(whole: string, groups: Record<string, string | undefined>, known: ReadonlySet<number>): Inline[] {
  if (groups["bold"] !== undefined) return bold(groups["bold"], known);
  if (groups["code"] !== undefined) return [{ kind: "code", text: groups["code"] }];
  const n = Number(groups["cite"] ?? groups["written"]);
  if (known.has(n)) return [{ kind: "cite", n }];
  return groups["written"] === undefined ? [] : [{ kind: "text", text: whole }];
}

/** A citation may end a bold phrase: it stays a citation. */
function bold(text: string, known: ReadonlySet<number>): Inline[] {
  const parts = text.split(/\u{E000}(\d+)\u{E001}/u);
  return parts.flatMap((part, index): Inline[] => {
    if (index % 2 === 1) return known.has(Number(part)) ? [{ kind: "cite", n: Number(part) }] : [];
    return part === "" ? [] : [{ kind: "bold", text: part }];
  });
}

function plain(text: string): Inline[] {
  return text === "" ? [] : [{ kind: "text", text }];
}
