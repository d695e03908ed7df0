// Owns the maps that several modes draw: layers by positions, layers by heads. It asks nothing.

import type { OpenAnswer } from "../contract";
import { heatMap, type HeatMap, type HeatMapOptions } from "../drawing/pictures";
import { percent, plain, visible } from "../drawing/words";
import { headLabels, layerLabels } from "./run_facts";

interface MapWords {
  readonly title: string;
  readonly summary: string;
  readonly onPick?: (row: number, column: number) => void;
}

/** After the embedding and after each layer: the stream has one more place than there are layers. */
export function streamLabels(count: number): readonly string[] {
  return Array.from({ length: count }, (_, at) => (at === 0 ? "embed" : `L${at - 1}`));
}

/** What each layer would say, in words, shaded by how sure it is. */
export function lensMap(words: MapWords, lens: { readonly token: readonly (readonly string[])[]; readonly p: readonly (readonly number[])[] }, columns: readonly string[], signal: AbortSignal): HeatMap {
  return map(words, {
    rowTitle: "after", columnTitle: "position", rows: streamLabels(lens.p.length), columns: columns.map(visible),
    values: lens.p, scale: "sequential", most: 1, write: percent, words: (row, column) => visible(lens.token[row]?.[column] ?? ""),
  }, signal);
}

export function streamMap(words: MapWords, values: HeatMapOptions["values"], columns: readonly string[], signal: AbortSignal, most?: number): HeatMap {
  return map(words, { rowTitle: "after", columnTitle: "position", rows: streamLabels(values.length), columns, values, scale: "sequential", write: (value) => plain(value), ...(most === undefined ? {} : { most }) }, signal);
}

export function writesMap(words: MapWords, values: OpenAnswer["attn"], columns: readonly string[], most: number, signal: AbortSignal): HeatMap {
  return map(words, { rowTitle: "layer", columnTitle: "position", rows: layerLabels(values.length), columns, values, scale: "sequential", most, write: (value) => plain(value) }, signal);
}

export function headsMap(words: MapWords, values: HeatMapOptions["values"], scale: "sequential" | "diverging", most: number, signal: AbortSignal): HeatMap {
  return map(words, { rowTitle: "layer", columnTitle: "head", rows: layerLabels(values.length), columns: headLabels(values[0]?.length ?? 0), values, scale, most, write: (value) => plain(value) }, signal);
}

function map({ title, summary, onPick }: MapWords, rest: Omit<HeatMapOptions, "title" | "summary" | "onPick">, signal: AbortSignal): HeatMap {
  return heatMap({ title, summary, ...rest, ...(onPick ? { onPick } : {}) }, signal);
}

export function largestOf(...tables: readonly (readonly (readonly number[])[])[]): number {
  let most = 0;
  for (const table of tables) for (const row of table) for (const value of row) most = Math.max(most, Math.abs(value));
  return most;
}
