// Owns plotly: the part of it that a figure needs, loaded when the first such figure does. The only module that calls it.

import { loadScript } from "../parts";
import { siteUrl, type PageConfig } from "../page_config";
import { coloursOf, heightOf, themed, type FigureJson, type Layout } from "./plotly_theme";
import { onThemeChange } from "./theme";

interface Plotly {
  newPlot(target: HTMLElement, figure: object): Promise<unknown>;
  relayout(target: HTMLElement, layout: Layout): Promise<unknown>;
  purge(target: HTMLElement): void;
}

declare global {
  interface Window {
    Plotly?: Plotly;
  }
}

/** Few buttons, so that they leave the title readable. */
const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"] };

/** A third of the size, and enough for nearly every figure: plots on two axes. */
const CARTESIAN = "_static/vendor/plotly-cartesian.min.js";
const WHOLE = "_static/vendor/plotly.min.js";
export type Bundle = typeof CARTESIAN | typeof WHOLE;

/** The kinds of trace that the smaller bundle draws. */
export const CARTESIAN_TRACES: ReadonlySet<string> = new Set(
  "bar box contour heatmap histogram histogram2d histogram2dcontour image pie scatter scatterternary violin".split(" "),
);

export async function drawFigure(config: PageConfig, target: HTMLElement, figure: unknown, signal: AbortSignal): Promise<void> {
  const { data, layout = {}, frames } = asFigure(figure);
  const plotly = await loadPlotly(config, bundleFor(figure));
  if (signal.aborted) return;
  const colours = (): Layout => themed(layout, coloursOf(target), target.clientWidth);
  // On a resize plotly takes its place's height for its own: without one the figure would fold up.
  target.style.height = `${heightOf(colours())}px`;
  await plotly.newPlot(target, { data, layout: colours(), config: CONFIG, ...(frames ? { frames } : {}) });
  // Dropping a whole layout on a theme change would lose the reader's zoom: only the colours are set again.
  onThemeChange(() => void plotly.relayout(target, colourKeys(colours())), signal);
  signal.addEventListener("abort", () => plotly.purge(target));
}

/** The smallest bundle that draws every trace of a figure; a trace without a type is a scatter plot. */
export function bundleFor(figure: unknown): Bundle {
  const { data, frames } = (figure ?? {}) as { data?: unknown; frames?: unknown };
  const later = Array.isArray(frames) ? frames.map((frame: { data?: unknown } | null) => frame?.data) : [];
  const traces = [data, ...later].flatMap((list) => (Array.isArray(list) ? (list as ({ type?: unknown } | null)[]) : []));
  const areHeld = traces.every((trace) => trace?.type === undefined || CARTESIAN_TRACES.has(String(trace.type)));
  return areHeld ? CARTESIAN : WHOLE;
}

const loaded = new Map<Bundle, Plotly>();

/** Load a bundle, unless the whole of plotly is here. Each figure keeps the copy that drew it: two may be on one page. */
export async function loadPlotly(config: PageConfig, bundle: Bundle): Promise<Plotly> {
  const known = loaded.get(WHOLE) ?? loaded.get(bundle);
  if (known) return known;
  await loadScript(siteUrl(config, bundle));
  const plotly = loaded.get(bundle) ?? window.Plotly;
  if (!plotly) throw new Error(`${bundle}: expected window.Plotly, got none`);
  loaded.set(bundle, plotly);
  return plotly;
}

/** Have the browser fetch a bundle when it has nothing better to do; it is not run yet. */
export function prefetchPlotly(config: PageConfig, bundle: Bundle): void {
  const link = document.createElement("link");
  link.rel = "prefetch";
  link.as = "script";
  link.href = siteUrl(config, bundle);
  document.head.append(link);
}

function asFigure(raw: unknown): FigureJson {
  const figure = raw as Partial<FigureJson> | null;
  if (!Array.isArray(figure?.data)) throw new Error("figure: expected a list of traces under data, got none");
  return figure as FigureJson;
}

function colourKeys(layout: Layout): Layout {
  const keys: Layout = {
    paper_bgcolor: layout["paper_bgcolor"],
    plot_bgcolor: layout["plot_bgcolor"],
    "modebar.color": (layout["modebar"] as Layout)["color"],
    "modebar.activecolor": (layout["modebar"] as Layout)["activecolor"],
    "font.color": (layout["font"] as { color?: string }).color,
  };
  for (const [name, axis] of Object.entries(layout)) {
    if (!/^[xy]axis\d*$/.test(name)) continue;
    for (const key of ["gridcolor", "linecolor", "zerolinecolor"]) keys[`${name}.${key}`] = (axis as Layout)[key];
  }
  return keys;
}
