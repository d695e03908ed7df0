// Owns how a stored traceback is shown: as a live one, with its last line first and the rest folded.

import { el } from "../dom";

export function foldStoredErrors(root: ParentNode): void {
  for (const block of root.querySelectorAll<HTMLElement>(".cell_output .output.traceback")) {
    const last = lastLine(block.textContent ?? "");
    if (last === null || block.closest(".tl-error")) continue;
    const [name = "", ...message] = last.split(": ");
    const head = el("p", { class: "tl-error-head" }, el("strong", {}, name), message.length > 0 ? `: ${message.join(": ")}` : "");
    const folded = el("details", { class: "tl-traceback" }, el("summary", {}, "Full traceback"));
    const view = el("div", { class: "tl-error" }, head, folded);
    block.replaceWith(view);
    folded.append(block);
  }
}

function lastLine(text: string): string | null {
  const lines = text.split("\n").map((line) => line.trim());
  return lines.findLast((line) => line !== "") ?? null;
}
