// Owns how a cell's error is shown: name and message first, then the line, the traceback folded.

import { el } from "../dom";
import type { CellError } from "./contract";
import { placeInCell } from "./place";
import { ansiNodes } from "./terminal_text";

export function errorView(error: CellError): HTMLElement {
  const isInterrupt = error.name === "KeyboardInterrupt";
  const head = isInterrupt
    ? el("p", { class: "tl-error-head" }, el("strong", {}, "Interrupted"), " before the cell was done.")
    : el("p", { class: "tl-error-head" }, el("strong", {}, error.name), error.message ? `: ${error.message}` : "");
  return el("div", { class: "tl-error" }, head, ...where(error), ...folded(error));
}

function where(error: CellError): HTMLElement[] {
  const place = placeInCell(error);
  if (!place) return [];
  const code = place.text === null ? [] : [": ", el("code", {}, place.text)];
  return [el("p", { class: "tl-error-line" }, `Line ${place.line} of this cell`, ...code)];
}

function folded(error: CellError): HTMLElement[] {
  if (error.traceback.length === 0) return [];
  const pre = el("pre", { tabindex: "0" });
  pre.append(...ansiNodes(error.traceback.join("\n")));
  return [el("details", { class: "tl-traceback" }, el("summary", {}, "Full traceback"), pre)];
}
