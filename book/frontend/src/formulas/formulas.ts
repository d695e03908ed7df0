// Entry of the script that sets formulas: in live outputs when the first of them comes, and of whole pages at build.

import { el } from "../dom";
import { offerPart } from "../parts";
import { hasFormula, piecesOf, type Piece } from "./pieces";
import { setOne, setPiece } from "./setting";

/** Where TeX is only talked about, where it is set already, and where it could not be. */
const LEFT_ALONE = "pre, code, kbd, samp, textarea, script, style, .math, .katex, .tl-unset";

export function typeset(element: HTMLElement): void {
  // Neighbouring texts may hold one formula together.
  element.normalize();
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const texts: Text[] = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (hasFormula(node.nodeValue ?? "") && !node.parentElement?.closest(LEFT_ALONE)) texts.push(node as Text);
  }
  for (const text of texts) text.replaceWith(...piecesOf(text.data).map(nodeOf));
  for (const box of element.querySelectorAll<HTMLElement>(".katex-display")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }
}

function nodeOf(piece: Piece): Node {
  if (piece.kind === "text") return document.createTextNode(piece.text);
  const outcome = setPiece(piece);
  if ("problem" in outcome) return el("span", { class: "tl-unset", title: `Formula not set: ${outcome.problem}` }, piece.typed);
  const template = document.createElement("template");
  // KaTeX's own markup: it escapes every text, and may write neither links nor attributes of the author's choice.
  template.innerHTML = outcome.html;
  return template.content;
}

offerPart("formulas", { typeset, setAll: (wanted) => wanted.map(setOne) });
