// Owns precomputed sliders: the states that a page stores, and the controls that move between them. No kernel is asked.

import { el } from "../dom";
import type { CellOutputs, MimeBundle } from "./contract";

export const GRID = "application/vnd.tlab.grid+json";

export interface Axis {
  readonly name: string;
  readonly values: readonly (number | string | boolean)[];
}

export interface GridData {
  readonly title: string;
  readonly axes: readonly Axis[];
  /** Which answer each combination of values has, the last axis moving fastest. */
  readonly states: readonly number[];
  readonly answers: readonly unknown[];
  /** What several answers share, referred to as `{"$part": n}`. */
  readonly parts: readonly unknown[];
}

/** The grid in `raw`, or null when its numbers do not fit together. */
export function parseGrid(raw: unknown): GridData | null {
  if (typeof raw !== "object" || raw === null) return null;
  const { title, axes, states, answers, parts } = raw as Record<string, unknown>;
  if (!Array.isArray(axes) || !Array.isArray(states) || !Array.isArray(answers)) return null;
  const areAxes = axes.every((axis: Partial<Axis> | null) => typeof axis?.name === "string" && Array.isArray(axis.values) && axis.values.length > 0);
  if (!areAxes || axes.length === 0) return null;
  const count = (axes as Axis[]).reduce((product, { values }) => product * values.length, 1);
  if (count !== states.length || !states.every((state) => Number.isInteger(state) && state >= 0 && state < answers.length)) return null;
  return { title: String(title ?? ""), axes: axes as Axis[], states, answers, parts: Array.isArray(parts) ? parts : [] };
}

const MAX_DEPTH = 60;

/** The answer for one position on each axis. */
export function answerAt(grid: GridData, positions: readonly number[]): MimeBundle {
  const state = grid.axes.reduce((index, { values }, axis) => index * values.length + (positions[axis] ?? 0), 0);
  return resolve(grid.answers[grid.states[state] ?? 0], grid.parts, 0) as MimeBundle;
}

function resolve(value: unknown, parts: readonly unknown[], depth: number): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (depth > MAX_DEPTH) throw new Error("grid: expected answers of bounded depth, got a circle");
  if (Array.isArray(value)) return value.map((inner) => resolve(inner, parts, depth + 1));
  const reference = (value as { $part?: unknown }).$part;
  if (typeof reference === "number") return resolve(parts[reference], parts, depth + 1);
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, resolve(inner, parts, depth + 1)]));
}

type OpenOutputs = (container: HTMLElement, signal: AbortSignal) => CellOutputs;

/** Show the sliders of a grid over the answer that they choose. */
export async function gridView(slot: HTMLElement, grid: GridData, twin: string, openOutputs: OpenOutputs, signal: AbortSignal): Promise<void> {
  const positions = grid.axes.map(() => 0);
  const place = el("div", { class: "tl-grid-answer" });
  const controls = grid.axes.map((axis, index) =>
    control(axis, (position) => {
      positions[index] = position;
      void draw();
    }, signal),
  );
  const legend = el("legend", {}, grid.title);
  const details = el("details", { class: "tl-twin-details" }, el("summary", {}, "All states as text"), el("pre", { tabindex: "0" }, twin));
  slot.replaceChildren(el("fieldset", { class: "tl-grid" }, legend, ...controls), place, details);
  let shown: AbortController | null = null;
  let drawing: Promise<void> | null = null;
  let isStale = false;
  const drawOnce = async (): Promise<void> => {
    // The place keeps its height, so that the page does not jump between two figures.
    place.style.minHeight = `${place.clientHeight}px`;
    const next = new AbortController();
    const box = el("div", { class: "tl-grid-state" });
    shown?.abort();
    shown = next;
    place.replaceChildren(box);
    const outputs = openOutputs(box, next.signal);
    outputs.handle({ kind: "display", bundle: answerAt(grid, positions), displayId: null });
    await outputs.drawn();
    place.style.minHeight = "";
  };
  const draw = async (): Promise<void> => {
    isStale = true;
    // A quick hand moves past states: only the last is drawn.
    drawing ??= (async () => {
      while (isStale && !signal.aborted) {
        isStale = false;
        await drawOnce();
      }
      drawing = null;
    })();
    await drawing;
  };
  signal.addEventListener("abort", () => shown?.abort());
  await draw();
}

/** A slider for numbers, a list for anything else. */
function control({ name, values }: Axis, move: (position: number) => void, signal: AbortSignal): HTMLElement {
  const words = (position: number): string => String(values[position] ?? "");
  if (!values.every((value) => typeof value === "number")) {
    const options = values.map((_, position) => el("option", { value: String(position) }, words(position)));
    const select = el("select", {}, ...options);
    select.addEventListener("change", () => move(select.selectedIndex), { signal });
    return el("label", { class: "tl-grid-control" }, el("span", {}, name), select);
  }
  const slider = el("input", { type: "range", min: "0", max: String(values.length - 1), step: "1", value: "0", "aria-valuetext": words(0) });
  const value = el("output", {}, words(0));
  slider.addEventListener("input", () => {
    const position = Number(slider.value);
    value.textContent = words(position);
    slider.setAttribute("aria-valuetext", words(position));
    move(position);
  }, { signal });
  return el("label", { class: "tl-grid-control" }, el("span", {}, name), slider, value);
}
