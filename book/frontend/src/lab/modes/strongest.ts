// Owns the list beside a map: its largest cells in words, each a button that leads there.

import { el } from "../../dom";
import { button } from "./asking";

export interface Cell {
  readonly row: number;
  readonly column: number;
  readonly value: number;
}

/** The cells furthest from zero, the furthest first. */
export function strongestCells(values: readonly (readonly (number | null)[])[], most = 8): readonly Cell[] {
  const cells = values.flatMap((line, row) => line.flatMap((value, column) => (value === null ? [] : [{ row, column, value }])));
  return cells.sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, most);
}

export class StrongestCells {
  readonly #list = el("ol", {});
  readonly element: HTMLElement;

  constructor(
    title: string,
    private readonly name: (row: number, column: number) => string,
    private readonly write: (value: number) => string,
    private readonly onPick: (row: number, column: number) => void,
    private readonly signal: AbortSignal,
  ) {
    this.element = el("div", { class: "lab-strongest" }, el("h5", {}, title), this.#list);
  }

  show(values: readonly (readonly (number | null)[])[], most = 8): void {
    const hadFocus = this.#list.contains(document.activeElement);
    this.#list.replaceChildren(...strongestCells(values, most).map((cell) => this.#row(cell)));
    if (hadFocus) this.#list.querySelector("button")?.focus();
  }

  #row({ row, column, value }: Cell): HTMLElement {
    const pick = button(this.name(row, column), () => this.onPick(row, column), this.signal);
    pick.classList.add("lab-pick");
    return el("li", {}, pick, el("span", { class: "lab-number" }, this.write(value)));
  }
}
