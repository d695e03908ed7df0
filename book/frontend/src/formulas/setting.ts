// Owns how a formula becomes HTML and MathML, at build and live alike: KaTeX under the book's restrictions.
// Refuses commands that reach beyond mathematics, definitions, and what is too long or too large.

import katex from "katex";
import type { Outcome, Wanted } from "./contract";
import { delimited, piecesOf, type Piece } from "./pieces";

/** Links, styles, classes, pictures, and extensions: KaTeX knows only some of them, and trusts none. */
const REACHES_OUT = /\\(href|url|style|class|cssId|data|html(?:Class|Id|Style|Data)|require|mmlToken|includegraphics|bbox|texttip|mathtip|toggle|action)(?![A-Za-z])/;
/** A few lines of definitions can stand for millions of letters. */
const DEFINES = /\\(def|gdef|edef|xdef|let|futurelet|(?:re)?newcommand|providecommand|global|long)(?![A-Za-z])/;
/** No equation is referred to by a number that its environment would count by itself. */
const COUNTING = /\\(begin|end)\s*\{(equation|align|alignat|gather)\}/g;
const LONGEST = 10_000;
const LARGEST_EM = 40;
/** KaTeX caps what is typed as a size, but not what is typed as a negative one. */
const FARTHEST_EM = 100;
const STYLE = /style="([^"]*)"/g;
const LENGTH_EM = /(-?[\d.]+(?:e[+-]?\d+)?)em/g;

export function setOne({ kind, source }: Wanted): Outcome {
  return kind === "output" ? setOutput(source) : setFormula(source, kind === "display");
}

/** A LaTeX output: its texts as they are, its formulas set. */
function setOutput(source: string): Outcome {
  const parts: string[] = [];
  for (const piece of piecesOf(delimited(source))) {
    const outcome = piece.kind === "text" ? { html: escaped(piece.text) } : setPiece(piece);
    if ("problem" in outcome) return outcome;
    parts.push(outcome.html);
  }
  return { html: parts.join("") };
}

/** A formula between texts, in an element of its own. */
export function setPiece({ kind, tex }: Exclude<Piece, { kind: "text" }>): Outcome {
  const outcome = setFormula(tex, kind === "display");
  return "html" in outcome ? { html: `<span class="math">${outcome.html}</span>` } : outcome;
}

export function setFormula(tex: string, isDisplay: boolean): Outcome {
  const refused = refusal(tex);
  if (refused !== null) return { problem: refused };
  try {
    const set = katex.renderToString(tex.replace(COUNTING, "\\$1{$2*}"), {
      displayMode: isDisplay,
      output: "htmlAndMathml",
      throwOnError: true,
      trust: false,
      strict: "ignore",
      maxExpand: 1000,
      maxSize: LARGEST_EM,
    });
    // KaTeX leaves this attribute empty where columns have no space of their own, and Firefox calls that an error.
    const html = set.replaceAll(' columnspacing=""', "");
    return reachesFar(html) ? { problem: `expected lengths of at most ${FARTHEST_EM} em, got a longer one` } : { html };
  } catch (error) {
    return { problem: sentence(error) };
  }
}

function refusal(tex: string): string | null {
  if (tex.length > LONGEST) return `expected at most ${LONGEST} characters, got ${tex.length}`;
  const reaching = REACHES_OUT.exec(tex)?.[1];
  if (reaching !== undefined) return `expected mathematics, got \\${reaching}, which reaches beyond it`;
  const defining = DEFINES.exec(tex)?.[1];
  return defining === undefined ? null : `expected a formula without definitions, got \\${defining}; write out what it stands for`;
}

function reachesFar(html: string): boolean {
  const lengths = [...html.matchAll(STYLE)].flatMap(([, style = ""]) => [...style.matchAll(LENGTH_EM)]);
  return lengths.some(([, length]) => !(Math.abs(Number(length)) <= FARTHEST_EM));
}

/** KaTeX's own words, without its name and without the marks that it sets under letters. */
function sentence(error: unknown): string {
  // Recognised by name: the class of another copy of KaTeX would be another class.
  if (!(error instanceof Error) || error.name !== "ParseError") return "expected a formula that can be set, got one that is nested too deeply";
  return error.message.replace(/^KaTeX parse error: /, "").replace(/[\u0332\u0333]/g, "").replace(/\s+/g, " ").slice(0, 300);
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
}
