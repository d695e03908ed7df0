// Owns how a stored traceback is shown: as a live one, with its last line first and the rest folded.

import { el } from "../dom";
import { placeInCell } from "../live/place";
import { failureButtons, type FailureActions } from "./explain";

/** @param ask opens the chat with a question; null where there is no chat. */
export function foldStoredErrors(root: ParentNode, ask: FailureActions["ask"] = null): void {
  for (const block of root.querySelectorAll<HTMLElement>(".cell_output .output.traceback")) {
    const text = block.textContent ?? "";
    const last = lastLine(text);
    if (last === null || block.closest(".tl-error")) continue;
    const [name = "", ...rest] = last.split(": ");
    const message = rest.join(": ");
    const place = placeInCell({ traceback: [text], execution: null });
    const head = el("p", { class: "tl-error-head" }, el("strong", {}, name), message ? `: ${message}` : "");
    const line = place ? [el("p", { class: "tl-error-line" }, `Line ${place.line} of this cell`)] : [];
    const folded = el("details", { class: "tl-traceback" }, el("summary", {}, "Full traceback"));
    const buttons = failureButtons({ name, message, place }, { goTo: null, ask });
    const view = el("div", { class: "tl-error" }, head, ...line, ...(buttons ? [buttons] : []), folded);
    block.replaceWith(view);
    folded.append(block);
  }
}

function lastLine(text: string): string | null {
  const lines = text.split("\n").map((line) => line.trim());
  return lines.findLast((line) => line !== "") ?? null;
}
