// Owns heat maps: cells on a canvas, one place for keyboard and pointer, and a table twin. It knows no model.

import { el } from "../../dom";
import { colourOf, css, inkOn, paletteOf, type Palette } from "./colours";
import { gridOf, placeAt, type GridPlace, type GridSize } from "./grid_layout";
import { watchLook } from "./look";
import { tableTwin } from "./table_twin";

export interface HeatMapOptions {
  readonly title: string;
  /** One sentence that says what there is to see. */
  readonly summary: string;
  readonly rowTitle: string;
  readonly columnTitle: string;
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  /** [row][column]; a row may be shorter (a triangle), null is not known (yet). */
  readonly values: readonly (readonly (number | null)[])[];
  readonly scale: "diverging" | "sequential";
  /** The value with the strongest colour; without it the largest there is. */
  readonly most?: number;
  readonly write: (value: number) => string;
  /** Words in the cells, where there is room. */
  readonly words?: (row: number, column: number) => string;
  /** Whether row 0 stands at the bottom, as layers do. */
  readonly upwards?: boolean;
  /** Enter or a click on a cell. */
  readonly onPick?: (row: number, column: number) => void;
}

export interface HeatMap {
  readonly element: HTMLElement;
  /** New values, for example as they come in. */
  update(values: HeatMapOptions["values"], most?: number): void;
  /** Outline a cell, or none. */
  choose(place: GridPlace | null): void;
}

export function heatMap(options: HeatMapOptions, signal: AbortSignal): HeatMap {
  return new CanvasMap(options, signal);
}

class CanvasMap implements HeatMap {
  readonly element: HTMLElement;
  readonly #canvas = el("canvas", { class: "lab-map-canvas", "aria-hidden": "true" });
  readonly #place: HTMLElement;
  readonly #says = el("p", { class: "lab-map-says", "aria-live": "polite" });
  readonly #twin: { readonly element: HTMLElement; update(values: HeatMapOptions["values"]): void };
  #values: HeatMapOptions["values"];
  #most: number;
  #size: GridSize;
  #cursor: GridPlace | null = null;
  #chosen: GridPlace | null = null;

  constructor(private readonly options: HeatMapOptions, signal: AbortSignal) {
    this.#values = options.values;
    this.#most = options.most ?? largest(options.values);
    this.#size = gridOf(options, 600);
    this.#place = el("div", { class: "lab-map-place", tabindex: "0", role: "application", "aria-roledescription": "heat map", "aria-label": `${options.title}. ${options.summary} Arrow keys move from cell to cell${options.onPick ? ", Enter chooses one" : ""}.` }, this.#canvas);
    this.#twin = tableTwin(options);
    this.element = el("figure", { class: "lab-map" }, el("figcaption", {}, options.title), this.#place, this.#says, this.#twin.element);
    this.#place.addEventListener("pointermove", (event) => this.#hover(event), { signal });
    this.#place.addEventListener("pointerleave", () => this.#point(null), { signal });
    this.#place.addEventListener("click", (event) => this.#pick(this.#under(event)), { signal });
    this.#place.addEventListener("keydown", (event) => this.#key(event), { signal });
    watchLook(this.#place, () => this.#draw(), signal);
  }

  update(values: HeatMapOptions["values"], most?: number): void {
    this.#values = values;
    this.#most = most ?? this.options.most ?? largest(values);
    this.#twin.update(values);
    this.#draw();
  }

  choose(place: GridPlace | null): void {
    this.#chosen = place;
    this.#draw();
  }

  #under(event: MouseEvent): GridPlace | null {
    const box = this.#canvas.getBoundingClientRect();
    return placeAt(this.#size, event.clientX - box.left, event.clientY - box.top);
  }

  #hover(event: PointerEvent): void {
    this.#point(this.#under(event));
  }

  #point(place: GridPlace | null): void {
    if (place?.row === this.#cursor?.row && place?.column === this.#cursor?.column) return;
    this.#cursor = place;
    this.#says.textContent = place ? this.#wordsOf(place) : "";
    this.#draw();
  }

  #pick(place: GridPlace | null): void {
    if (place && this.#values[place.row]?.[place.column] !== undefined) this.options.onPick?.(place.row, place.column);
  }

  #key(event: KeyboardEvent): void {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      return this.#pick(this.#cursor);
    }
    const up = this.options.upwards ? 1 : -1;
    const steps: Record<string, readonly [number, number]> = { ArrowUp: [up, 0], ArrowDown: [-up, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    const from = this.#cursor ?? this.#chosen ?? { row: this.options.upwards ? -1 : 0, column: -1 };
    const row = clamp(from.row + step[0], this.options.rows.length);
    const width = this.#values[row]?.length ?? 1;
    this.#point({ row, column: clamp(from.column + step[1], width) });
  }

  #wordsOf({ row, column }: GridPlace): string {
    const { rowTitle, columnTitle, rows, columns, write, words } = this.options;
    const value = this.#values[row]?.[column];
    const what = value === undefined || value === null ? "not known" : write(value);
    const word = words?.(row, column);
    return `${rowTitle} ${rows[row] ?? row}, ${columnTitle} ${columns[column] ?? column}: ${word ? `${word}, ` : ""}${what}`;
  }

  #draw(): void {
    const width = this.#place.clientWidth;
    if (width === 0) return;
    this.#size = gridOf(this.options, width);
    const { size, canvas } = { size: this.#size, canvas: this.#canvas };
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(size.width * ratio);
    canvas.height = Math.round(size.height * ratio);
    canvas.style.width = `${size.width}px`;
    canvas.style.height = `${size.height}px`;
    const pen = canvas.getContext("2d");
    if (!pen) return;
    pen.scale(ratio, ratio);
    const palette = paletteOf(this.#place);
    this.#drawCells(pen, palette);
    this.#drawLabels(pen, palette);
    this.#outline(pen, this.#chosen, palette.accent, 2.5);
    this.#outline(pen, this.#cursor, palette.ink, 1.5);
  }

  #drawCells(pen: CanvasRenderingContext2D, palette: Palette): void {
    const { cellWidth, cellHeight } = this.#size;
    const gap = cellWidth > 8 && cellHeight > 8 ? 1 : 0;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    this.#values.forEach((line, row) => {
      line.forEach((value, column) => {
        const { x, y } = this.#corner({ row, column });
        if (value === null) {
          pen.fillStyle = palette.line;
          pen.fillRect(x + cellWidth / 2 - 1, y + cellHeight / 2 - 1, 2, 2);
          return;
        }
        const ground = colourOf(value, this.options.scale, this.#most, palette);
        pen.fillStyle = css(ground);
        pen.fillRect(x, y, cellWidth - gap, cellHeight - gap);
        this.#drawWord(pen, { row, column }, value, inkOn(ground));
      });
    });
  }

  /** What fits: the word, else the number, else at least the sign. */
  #drawWord(pen: CanvasRenderingContext2D, place: GridPlace, value: number, ink: string): void {
    const { cellWidth, cellHeight } = this.#size;
    const { x, y } = this.#corner(place);
    if (cellHeight < 9 || cellWidth < 7) return;
    pen.fillStyle = ink;
    pen.font = `${Math.min(11.5, cellHeight - 3)}px ${this.options.words ? "ui-monospace, monospace" : "system-ui, sans-serif"}`;
    const middle = [x + cellWidth / 2, y + cellHeight / 2 + 0.5] as const;
    const wanted = this.options.words?.(place.row, place.column) ?? this.options.write(value);
    const text = fitting(pen, wanted, cellWidth - 4, this.options.words !== undefined);
    if (text) pen.fillText(text, ...middle);
    else if (this.options.scale === "diverging" && value < 0 && Math.abs(value) > this.#most / 20) pen.fillText("−", ...middle);
  }

  #drawLabels(pen: CanvasRenderingContext2D, palette: Palette): void {
    const { cellWidth, cellHeight, left, top, rows, columns } = this.#size;
    pen.fillStyle = palette.muted;
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    const everyRow = Math.max(1, Math.ceil(12 / cellHeight));
    for (let row = 0; row < rows; row += everyRow) {
      const { y } = this.#corner({ row, column: 0 });
      pen.fillText(fitting(pen, this.options.rows[row] ?? "", left - 8, true) ?? "", left - 6, y + cellHeight / 2);
    }
    const everyColumn = Math.max(1, Math.ceil(12 / cellWidth));
    for (let column = 0; column < columns; column += everyColumn) {
      pen.save();
      pen.translate(left + (column + 0.5) * cellWidth, top + rows * cellHeight + 6);
      pen.rotate(this.#size.turned ? Math.PI / 2 : 0);
      pen.textAlign = this.#size.turned ? "left" : "center";
      pen.textBaseline = this.#size.turned ? "middle" : "top";
      pen.fillText(fitting(pen, this.options.columns[column] ?? "", this.#size.turned ? this.#size.below - 10 : cellWidth * everyColumn - 2, true) ?? "", 0, 0);
      pen.restore();
    }
  }

  #corner({ row, column }: GridPlace): { x: number; y: number } {
    const { left, top, cellWidth, cellHeight, rows } = this.#size;
    const line = this.options.upwards ? rows - 1 - row : row;
    return { x: left + column * cellWidth, y: top + line * cellHeight };
  }

  #outline(pen: CanvasRenderingContext2D, place: GridPlace | null, colour: string, width: number): void {
    if (!place) return;
    const { x, y } = this.#corner(place);
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.strokeRect(x - 0.5, y - 0.5, this.#size.cellWidth, this.#size.cellHeight);
  }
}

function largest(values: HeatMapOptions["values"]): number {
  let most = 0;
  for (const line of values) for (const value of line) most = Math.max(most, Math.abs(value ?? 0));
  return most;
}

function clamp(index: number, count: number): number {
  return Math.min(Math.max(index, 0), Math.max(count - 1, 0));
}

/** The text, shortened with an ellipsis where that is allowed; null where nothing sensible fits. */
export function fitting(pen: CanvasRenderingContext2D, text: string, width: number, mayShorten: boolean): string | null {
  if (pen.measureText(text).width <= width) return text;
  if (!mayShorten) return null;
  const letters = [...text];
  for (let count = letters.length - 1; count > 0; count -= 1) {
    const shorter = `${letters.slice(0, count).join("")}…`;
    if (pen.measureText(shorter).width <= width) return shorter;
  }
  return null;
}
