// Owns the sentences that stand in the place of widgets which the book does not draw. Pure.

import type { Values } from "./bridge";

/** Code beyond this is a library in disguise: `go.FigureWidget` brings 5 MB for every figure. */
const MAX_CODE_CHARS = 1_000_000;

/** Why this widget's code is not run at all, or null. */
export function problemWith(attributes: Values): string | null {
  const code = attributes["_esm"];
  if (typeof code !== "string" || code === "") return "This widget brings no code, so there is nothing to show.";
  if (/^https?:\/\//.test(code)) return "This widget's code lies on another server; the book loads nothing from elsewhere.";
  if (code.length <= MAX_CODE_CHARS) return null;
  const size = `${(code.length / 1_000_000).toFixed(1)} MB`;
  return `This widget brings ${size} of code and is not drawn. For a figure use go.Figure; for one that changes, tlab.views.live_figure(…).`;
}

export function unknownSentence(module: string, name: string): string {
  const what = name === "" ? "This widget" : `${name.replace(/Model$/, "")} of ${module}`;
  return `${what} cannot be shown here: the book carries ipywidgets and anywidget, and loads no code from elsewhere.`;
}
