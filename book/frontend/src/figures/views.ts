// Owns a rich output with its text twin, stored or live. When drawing fails the twin is shown, and why.

import { el } from "../dom";
import type { Host } from "../parts";
import { nameOfFigure } from "./summary";

/** What IPython says of an object that has no text: neither a name for a frame nor worth a fold. */
const PLACEHOLDER = /^<IPython\.core\.display\.\w+ object>\s*$/;

/** Show a plotly figure in `slot`, with its twin folded below. */
export async function figureView(host: Host, slot: HTMLElement, figure: unknown, twin: string, signal: AbortSignal): Promise<void> {
  const target = el("div", { class: "tl-figure", role: "group", "aria-label": nameOfFigure(titleOf(figure), twin) });
  slot.replaceChildren(target, ...twinDetails(twin));
  try {
    await host.drawFigure(target, figure, signal);
  } catch (error) {
    slot.replaceChildren(...failure(error, twin));
  }
}

/** Show HTML that brings scripts in `slot`, isolated, with its twin folded below. */
export function frameView(host: Host, slot: HTMLElement, html: string, twin: string, signal: AbortSignal): void {
  const target = el("div", { class: "tl-frame" });
  const text = PLACEHOLDER.test(twin) ? "" : twin;
  slot.replaceChildren(target, ...twinDetails(text));
  host.drawFrame(target, html, firstLine(text) ?? "Interactive view", signal);
}

export function titleOf(figure: unknown): string | null {
  const layout = (figure as { layout?: { title?: unknown } } | null)?.layout;
  const title = typeof layout?.title === "object" ? (layout.title as { text?: unknown } | null)?.text : layout?.title;
  return typeof title === "string" && title !== "" ? title.replace(/<[^>]*>/g, " ").trim() : null;
}

function twinDetails(twin: string): HTMLElement[] {
  if (twin === "") return [];
  const pre = el("pre", { tabindex: "0" }, twin);
  return [el("details", { class: "tl-twin-details" }, el("summary", {}, "As text"), pre)];
}

function failure(error: unknown, twin: string): HTMLElement[] {
  const reason = error instanceof Error ? error.message : String(error);
  const words = el("p", { class: "tl-notice" }, `The picture could not be drawn (${reason}); here is its text.`);
  return [words, el("pre", { class: "tl-text", tabindex: "0" }, twin === "" ? "No text was stored with it." : twin)];
}

function firstLine(text: string): string | null {
  const line = text.split("\n", 1)[0]?.trim() ?? "";
  return line === "" ? null : line.slice(0, 200);
}
