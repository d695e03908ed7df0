// Owns what a copied formula is: its TeX between dollars, as notebooks read it. The selection itself holds every letter twice.

import { typedIn } from "../figures/formula_text";

export function copyFormulasAsTyped(signal: AbortSignal): void {
  document.addEventListener("copy", (event) => {
    const selection = document.getSelection();
    if (!event.clipboardData || !selection || selection.rangeCount === 0 || selection.isCollapsed) return;
    const range = whole(selection.getRangeAt(0));
    const copied = range.cloneContents();
    if (!copied.querySelector(".katex")) return;
    event.clipboardData.setData("text/plain", asTyped(copied));
    event.preventDefault();
  }, { signal });
}

/** Half a formula has no TeX: the selection is taken up to its ends. */
function whole(range: Range): Range {
  const wider = range.cloneRange();
  const formulaAt = (node: Node): Element | null => (node instanceof Element ? node : node.parentElement)?.closest(".katex") ?? null;
  const first = formulaAt(range.startContainer);
  const last = formulaAt(range.endContainer);
  if (first) wider.setStartBefore(first);
  if (last) wider.setEndAfter(last);
  return wider;
}

function asTyped(copied: DocumentFragment): string {
  for (const formula of copied.querySelectorAll(".katex")) {
    const outer = formula.closest(".katex-display");
    const marks = outer ? "$$" : "$";
    (outer ?? formula).replaceWith(`${marks}${typedIn(formula) ?? formula.textContent ?? ""}${marks}`);
  }
  // Only what is laid out has line breaks between its blocks.
  const page = document.createElement("div");
  page.style.cssText = "position: fixed; left: -9999px; width: 60rem";
  page.append(copied);
  document.body.append(page);
  const text = page.innerText;
  page.remove();
  return text;
}
