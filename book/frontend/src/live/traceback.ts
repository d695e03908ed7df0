// Owns how a cell's error is shown: name and message first, then the line, the traceback folded.

import { el } from "../dom";
import type { CellError } from "./contract";
import { ansiNodes, stripAnsi } from "./terminal_text";

interface Place {
  readonly line: number;
  /** The text of the line, where the traceback shows it. */
  readonly text: string | null;
}

/** The line of this very cell that raised or led to it, or null when the traceback does not say. */
export function placeInCell(error: CellError): Place | null {
  const frames = stripAnsi(error.traceback.join("\n")).split(/(?=Cell In\[)/);
  for (const frame of frames.reverse()) {
    const [, execution, line] = /^Cell In\[(\d+)\], line (\d+)/.exec(frame) ?? [];
    if (line === undefined || (error.execution !== null && Number(execution) !== error.execution)) continue;
    const text = /^-+>\s*\d+\s(.*)$/m.exec(frame)?.[1]?.trim();
    return { line: Number(line), text: text ? text : null };
  }
  return null;
}

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
