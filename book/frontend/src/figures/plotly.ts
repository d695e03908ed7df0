// Owns plotly: one copy of it, loaded when the first figure needs it. The only module that calls it.

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

export async function drawFigure(config: PageConfig, target: HTMLElement, figure: unknown, signal: AbortSignal): Promise<void> {
  const { data, layout = {}, frames } = asFigure(figure);
  await loadScript(siteUrl(config, "_static/vendor/plotly.min.js"));
  const plotly = window.Plotly;
  if (!plotly) throw new Error("plotly.min.js: expected window.Plotly, got none");
  if (signal.aborted) return;
  const colours = (): Layout => themed(layout, coloursOf(target), target.clientWidth);
  // On a resize plotly takes its place's height for its own: without one the figure would fold up.
  target.style.height = `${heightOf(colours())}px`;
  await plotly.newPlot(target, { data, layout: colours(), config: CONFIG, ...(frames ? { frames } : {}) });
  // Dropping a whole layout on a theme change would lose the reader's zoom: only the colours are set again.
  onThemeChange(() => void plotly.relayout(target, colourKeys(colours())), signal);
  signal.addEventListener("abort", () => plotly.purge(target));
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
