// Owns accessible names for controls that foreign HTML leaves nameless.

/** Name every select by the words in front of it: bertviz writes `Layer: <select>`. */
export function nameControls(root: ParentNode): void {
  for (const select of root.querySelectorAll("select")) {
    if (select.getAttribute("aria-label") || select.labels.length > 0) continue;
    select.setAttribute("aria-label", wordsBefore(select) || select.id || "Choice");
  }
}

function wordsBefore(element: Element): string {
  const before = element.previousSibling;
  return before?.nodeType === Node.TEXT_NODE ? (before.textContent ?? "").replace(/[:\s]+/g, " ").trim() : "";
}
