// Owns the table behind a heat map: the same numbers as text, made when it is opened.

import { el } from "../../dom";

interface Twin {
  readonly title: string;
  readonly rowTitle: string;
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  readonly values: readonly (readonly (number | null)[])[];
  readonly write: (value: number) => string;
  readonly words?: (row: number, column: number) => string;
}

export function tableTwin(twin: Twin): { readonly element: HTMLElement; update(values: Twin["values"]): void } {
  const place = el("div", { class: "lab-twin-scroll", tabindex: "0", role: "region", "aria-label": `${twin.title}, as a table` });
  const element = el("details", { class: "lab-twin" }, el("summary", {}, "As a table"), place);
  let { values } = twin;
  const draw = (): void => {
    if (element.open) place.replaceChildren(table(twin, values));
  };
  element.addEventListener("toggle", draw);
  return {
    element,
    update: (news) => {
      values = news;
      draw();
    },
  };
}

function table(twin: Twin, values: Twin["values"]): HTMLElement {
  const head = el("tr", {}, el("th", { scope: "col" }, twin.rowTitle), ...twin.columns.map((name) => el("th", { scope: "col" }, name)));
  const rows = values.map((line, row) => {
    const cells = twin.columns.map((_, column) => el("td", {}, wordsAt(twin, line[column], row, column)));
    return el("tr", {}, el("th", { scope: "row" }, twin.rows[row] ?? String(row)), ...cells);
  });
  return el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows));
}

function wordsAt(twin: Twin, value: number | null | undefined, row: number, column: number): string {
  if (value === undefined) return "";
  if (value === null) return "not known";
  const word = twin.words?.(row, column);
  return word ? `${word} ${twin.write(value)}` : twin.write(value);
}
