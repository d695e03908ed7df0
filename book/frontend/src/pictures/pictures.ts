// Entry of the page in which the build has its pictures of figures drawn: real plotly, the book's own layout and colours.
// No reader loads it.

import { coloursOf, heightOf, themed, type FigureJson, type Layout } from "../figures/plotly_theme";
import { nameOfFigure } from "../figures/summary";
import { titleOf } from "../figures/views";
import { inertSvg } from "./inert_svg";

/** Widths of a figure's place in common windows, and which of them get which picture; the last for all others. */
const SIZES = [
  { name: "phone", width: 358, media: "(max-width: 560px)" },
  { name: "widest", width: 916, media: "(min-width: 1500px)" },
  { name: "wide", width: 852, media: "(min-width: 1350px)" },
  { name: "column", width: 804, media: "" },
] as const;
const THEMES = ["light", "dark"] as const;

interface Picture {
  readonly theme: string;
  readonly size: string;
  readonly width: number;
  readonly media: string;
  readonly svg: string;
}

export interface Pictures {
  readonly name: string;
  readonly height: number;
  readonly pictures: readonly Picture[];
}

interface Painter {
  toImage(figure: object, options: object): Promise<string>;
}

declare global {
  interface Window {
    tlPictures?: (figure: FigureJson, twin: string) => Promise<Pictures>;
  }
}

/** Every picture of one figure, and what the page has to know of it before it is live. */
window.tlPictures = async (figure, twin) => {
  const painter = window.Plotly as unknown as Painter;
  const layout = figure.layout ?? {};
  const height = heightOf(layout);
  const pictures: Picture[] = [];
  for (const theme of THEMES) {
    document.documentElement.dataset["theme"] = theme;
    const colours = coloursOf(document.body);
    for (const { name: size, width, media } of SIZES) {
      const drawn: Layout = { ...themed(layout, colours, width), width, autosize: false };
      // Plotly writes its defaults into what it is given.
      const own = structuredClone({ data: figure.data, layout: drawn });
      const svg = await painter.toImage(own, { format: "svg", width, height, imageDataOnly: true });
      pictures.push({ theme, size, width, media, svg: inertSvg(svg) });
    }
  }
  return { name: nameOfFigure(titleOf(figure), twin), height, pictures };
};
