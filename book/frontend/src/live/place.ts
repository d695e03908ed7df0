// Owns finding a cell's own line in a traceback. Pure.

import type { CellError } from "./contract";

export interface Place {
  readonly line: number;
  /** The text of the line, where the traceback shows it. */
  readonly text: string | null;
}

/** The line of this very cell that raised or led to it, or null when the traceback does not say. */
export function placeInCell(error: Pick<CellError, "traceback" | "execution">): Place | null {
  const frames = withoutColours(error.traceback.join("\n")).split(/(?=Cell In\[)/);
  for (const frame of frames.reverse()) {
    const [, execution, line] = /^Cell In\[(\d+)\], line (\d+)/.exec(frame) ?? [];
    if (line === undefined || (error.execution !== null && Number(execution) !== error.execution)) continue;
    const text = /^-+>\s*\d+\s(.*)$/m.exec(frame)?.[1]?.trim() ?? textOfSyntaxError(frame);
    return { line: Number(line), text: text ? text : null };
  }
  return null;
}

/** A syntax error shows its line without an arrow, and a caret below it. */
function textOfSyntaxError(frame: string): string | undefined {
  return /^Cell In.*\n(.+)\n\s*\^/.exec(frame)?.[1]?.trim();
}

/** The text without a terminal's colours. */
export function withoutColours(text: string): string {
  return text.replace(/\u001b\[[0-9;]*[A-Za-z]/g, "");
}
