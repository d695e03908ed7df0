// Owns how Markdown and LaTeX outputs become page content: HTML through the sanitiser, formulas left to be set.

import { Marked, type TokenizerAndRendererExtension } from "marked";
import { el } from "../dom";
import { delimited } from "../formulas/pieces";
import { sanitise } from "./sanitise";

/** Formulas are taken out before Markdown can read their underscores as emphasis. */
const FORMULA_BLOCK: TokenizerAndRendererExtension = {
  name: "formulaBlock",
  level: "block",
  start: (source) => source.indexOf("$$"),
  tokenizer: (source) => {
    const match = /^ {0,3}\$\$([^$]+)\$\$[ \t]*(?:\n|$)/.exec(source);
    return match ? { type: "formulaBlock", raw: match[0], tex: match[1] ?? "" } : undefined;
  },
  renderer: (token) => `<p>\\[${escaped(String(token["tex"]))}\\]</p>`,
};
const FORMULA: TokenizerAndRendererExtension = {
  name: "formula",
  level: "inline",
  start: (source) => source.indexOf("$"),
  tokenizer: (source) => {
    const match = /^(?:\$\$([^$]+)\$\$|\$(?!\s)([^$\n]*[^$\s\\])\$(?!\d))/.exec(source);
    if (!match) return undefined;
    return { type: "formula", raw: match[0], tex: match[1] === undefined ? `\\(${match[2] ?? ""}\\)` : `\\[${match[1]}\\]` };
  },
  renderer: (token) => escaped(String(token["tex"])),
};
const marked = new Marked({ gfm: true, async: false, extensions: [FORMULA_BLOCK, FORMULA] });

export function markdownView(source: string): HTMLElement {
  return el("div", { class: "tl-markdown" }, sanitise(marked.parse(source) as string));
}

export function latexView(source: string): HTMLElement {
  return el("div", { class: "tl-latex tl-scroll", tabindex: "0" }, delimited(source));
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
}
