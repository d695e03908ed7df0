// Owns how a figure takes the page's colours. Pure but for reading CSS variables; data colours stay the author's.

export type Layout = Record<string, unknown>;

export interface FigureJson {
  readonly data: readonly { readonly xaxis?: string; readonly yaxis?: string }[];
  readonly layout?: Layout;
  readonly frames?: readonly unknown[];
}

export interface Colours {
  readonly text: string;
  readonly grid: string;
  readonly font: string;
}

const DEFAULT_HEIGHT_PX = 420;

/** Below this width a legend beside the picture leaves too little of the picture. */
const NARROW_PX = 520;

/** The layout in the page's colours, as wide as its place; what the author set of the rest stays. */
export function themed(layout: Layout, colours: Colours, width_px: number): Layout {
  const { width: _, ...rest } = layout;
  const axes: Layout = {};
  for (const name of axisNames(layout)) {
    const lines = { gridcolor: colours.grid, linecolor: colours.grid, zerolinecolor: colours.grid, zerolinewidth: 1 };
    axes[name] = { automargin: true, ...asObject(layout[name]), ...lines };
  }
  const legend = width_px < NARROW_PX ? { orientation: "h", yanchor: "bottom", y: 1.02, x: 0 } : {};
  return {
    margin: { l: 56, r: 24, b: 48, t: layout["title"] === undefined ? 32 : 64 },
    ...rest,
    ...axes,
    title: { x: 0.01, xanchor: "left", ...titleOf(layout["title"]) },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colours.grid, activecolor: colours.text },
    legend: { ...legend, ...asObject(layout["legend"]) },
    autosize: true,
    // Its place has no height of its own to follow.
    height: heightOf(layout),
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { ...asObject(layout["font"]), color: colours.text, family: colours.font },
  };
}

/** How high a figure is, in pixels: as its author said, or as usual. */
export function heightOf(layout: Layout): number {
  return typeof layout["height"] === "number" ? layout["height"] : DEFAULT_HEIGHT_PX;
}

export function coloursOf(element: Element): Colours {
  const style = getComputedStyle(element);
  const value = (name: string, otherwise: string): string => style.getPropertyValue(name).trim() || otherwise;
  return {
    text: value("--pst-color-text-base", style.color || "#222"),
    grid: value("--tl-figure-grid", "#8884"),
    font: value("--tl-font-sans", "sans-serif"),
  };
}

function axisNames(layout: Layout): string[] {
  const named = Object.keys(layout).filter((name) => /^[xy]axis\d*$/.test(name));
  return [...new Set(["xaxis", "yaxis", ...named])];
}

function titleOf(title: unknown): Layout {
  return typeof title === "string" ? { text: title } : asObject(title);
}

function asObject(value: unknown): Layout {
  return typeof value === "object" && value !== null ? (value as Layout) : {};
}
