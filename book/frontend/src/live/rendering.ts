// Owns the choice of how a MIME bundle is shown: the richest form that is safe. Pure.

import type { MimeBundle } from "./contract";
import { GRID, parseGrid, type GridData } from "./grid";
import { needsIsolation } from "./sanitise";

export const PLOTLY = "application/vnd.plotly.v1+json";
export const WIDGET = "application/vnd.jupyter.widget-view+json";

export type Rendering =
  | { readonly kind: "figure"; readonly figure: unknown; readonly twin: string }
  | { readonly kind: "frame"; readonly html: string; readonly twin: string }
  | { readonly kind: "widget"; readonly modelId: string; readonly twin: string }
  | { readonly kind: "grid"; readonly grid: GridData; readonly twin: string }
  | { readonly kind: "html"; readonly html: string }
  | { readonly kind: "markdown"; readonly source: string }
  | { readonly kind: "latex"; readonly source: string }
  | { readonly kind: "image"; readonly url: string; readonly alt: string }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "nothing" };

/** Base64 images are shown as data URIs; anything else in such a field is refused. */
const BASE64 = /^[A-Za-z0-9+/=\s]+$/;

export function chooseRendering(bundle: MimeBundle): Rendering {
  const twin = textOf(bundle["text/plain"]);
  const grid = parseGrid(bundle[GRID]);
  if (grid) return { kind: "grid", grid, twin };
  const modelId = (bundle[WIDGET] as { model_id?: unknown } | undefined)?.model_id;
  if (typeof modelId === "string") return { kind: "widget", modelId, twin };
  const figure = bundle[PLOTLY];
  if (typeof figure === "object" && figure !== null) return { kind: "figure", figure, twin };
  const html = textOf(bundle["text/html"]);
  if (html !== "") return needsIsolation(html) ? { kind: "frame", html, twin } : { kind: "html", html };
  return imageOf(bundle, twin) ?? plainOf(bundle, twin);
}

function imageOf(bundle: MimeBundle, twin: string): Rendering | null {
  const svg = textOf(bundle["image/svg+xml"]);
  const alt = altFrom(twin);
  // As an image, a drawing can neither run scripts nor load anything.
  if (svg !== "") return { kind: "image", url: `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`, alt };
  for (const mime of ["image/png", "image/jpeg", "image/gif", "image/webp"]) {
    const data = textOf(bundle[mime]);
    if (data !== "" && BASE64.test(data)) return { kind: "image", url: `data:${mime};base64,${data.replace(/\s/g, "")}`, alt };
  }
  return null;
}

function plainOf(bundle: MimeBundle, twin: string): Rendering {
  const markdown = textOf(bundle["text/markdown"]);
  if (markdown !== "") return { kind: "markdown", source: markdown };
  const latex = textOf(bundle["text/latex"]);
  if (latex !== "") return { kind: "latex", source: latex };
  const script = textOf(bundle["application/javascript"]);
  // It may act, but only where there is nothing to reach.
  if (script !== "") return { kind: "frame", html: `<script>${script.replace(/<\/(?=script)/gi, "<\\/")}</script>`, twin };
  const json = bundle["application/json"];
  if (json !== undefined) return { kind: "text", text: JSON.stringify(json, null, 2) };
  return twin === "" ? { kind: "nothing" } : { kind: "text", text: twin };
}

/** `<Figure size 640x480 with 1 Axes>` tells a listener nothing. */
function altFrom(twin: string): string {
  return twin === "" || /^<.*>$/s.test(twin) ? "Picture drawn by this cell" : twin;
}

/** Notebook files keep long texts as lists of lines. */
function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  return Array.isArray(value) ? value.filter((line) => typeof line === "string").join("") : "";
}
