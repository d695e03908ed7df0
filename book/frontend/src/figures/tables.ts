// Owns tables that pandas wrote: their headers sort them, by mouse and by keyboard, and they say what they are.

import { el } from "../dom";

type Direction = "ascending" | "descending" | "none";

/** Make every DataFrame below `root` sortable; tables with joined cells only get their caption. */
export function sortTables(root: ParentNode): void {
  for (const table of root.querySelectorAll<HTMLTableElement>("table.dataframe")) makeSortable(table);
}

export function makeSortable(table: HTMLTableElement): void {
  if (table.dataset["tables"] === "done") return;
  table.dataset["tables"] = "done";
  const heads = [...(table.tHead?.rows[0]?.cells ?? [])];
  const rows = [...(table.tBodies[0]?.rows ?? [])];
  const isSimple = rows.length > 1 && table.tHead?.rows.length === 1 && table.querySelector("[rowspan], [colspan]") === null;
  if (!table.caption) {
    const words = `Table of ${counted(rows.length, "row")} and ${counted(Math.max(heads.length - 1, 0), "column")}`;
    table.prepend(el("caption", { class: "tl-hidden" }, isSimple ? `${words}; its headers sort it.` : `${words}.`));
  }
  for (const head of heads) if ((head.textContent ?? "").trim() === "") head.append(el("span", { class: "tl-hidden" }, "Row labels"));
  if (!isSimple) return;
  heads.forEach((head, column) => addButton(head, () => sortBy(table, heads, rows, column)));
}

function addButton(head: HTMLTableCellElement, press: () => void): void {
  const button = el("button", { type: "button", class: "tl-sort" }, ...head.childNodes, el("span", { class: "tl-sort-sign", "aria-hidden": "true" }));
  button.addEventListener("click", press);
  head.replaceChildren(button);
  head.setAttribute("scope", "col");
  head.setAttribute("aria-sort", "none");
}

/** Up, then down, then as it came. */
function sortBy(table: HTMLTableElement, heads: readonly Element[], rows: readonly HTMLTableRowElement[], column: number): void {
  const next: Direction = { none: "ascending", ascending: "descending", descending: "none" }[heads[column]?.getAttribute("aria-sort") ?? "none"] as Direction;
  heads.forEach((head, index) => head.setAttribute("aria-sort", index === column ? next : "none"));
  const order = next === "none" ? rows : sorted(rows, (row) => row.cells[column]?.textContent ?? "", next);
  table.tBodies[0]?.append(...order);
}

/** Numbers by value where a column holds nothing else; missing values last in both directions. */
export function sorted<Row>(rows: readonly Row[], text: (row: Row) => string, direction: Direction): Row[] {
  const known = rows.filter((row) => !isMissing(text(row)));
  const areNumbers = known.every((row) => numberOf(text(row)) !== null);
  const sign = direction === "descending" ? -1 : 1;
  const compare = (a: string, b: string): number =>
    areNumbers ? (numberOf(a) ?? 0) - (numberOf(b) ?? 0) : a.localeCompare(b, undefined, { numeric: true });
  const inOrder = [...known].sort((a, b) => sign * compare(text(a), text(b)));
  return [...inOrder, ...rows.filter((row) => isMissing(text(row)))];
}

function isMissing(text: string): boolean {
  return /^\s*(NaN|NaT|None|<NA>)?\s*$/.test(text);
}

function numberOf(text: string): number | null {
  const plain = text.trim().replace(/,(?=\d{3})/g, "").replace(/\s*%$/, "").replace(/^\u2212/, "-");
  if (!/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$|^[-+]?inf$/i.test(plain)) return null;
  return /inf$/i.test(plain) ? (plain.startsWith("-") ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY) : Number(plain);
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
