// Owns a second prompt beside the shown one: its field, and both as tokens with their differences marked.

import { el } from "../../dom";
import { runBadge } from "../drawing/pictures";
import { visible } from "../drawing/words";
import { align, type Aligned } from "./aligning";
import { labelled } from "./part_picker";

/** A field for another prompt; `onChange` hears it when it is done, and never an unchanged one. */
export function promptField(words: string, first: string, onChange: (prompt: string) => void, signal: AbortSignal, tour: string): HTMLElement {
  const field = el("textarea", { class: "lab-text", rows: "2", spellcheck: "false", maxlength: "4000", "data-tour": tour });
  field.value = first;
  let last = first;
  const done = (): void => {
    if (field.value === last) return;
    last = field.value;
    onChange(last);
  };
  field.addEventListener("change", done, { signal });
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    done();
  }, { signal });
  const label = labelled(words, field);
  label.classList.add("lab-wide");
  return label;
}

/** Both prompts as rows of tokens, columns side by side, with a sign over what differs. */
export function tokenPair(clean: readonly string[], other: readonly string[], names: readonly [string, string]): HTMLElement {
  const rows = align(clean, other);
  const cell = (token: string | undefined): HTMLElement => el("td", {}, token === undefined ? "–" : el("code", { class: "lab-token" }, visible(token)));
  const line = (badge: HTMLElement, of: (row: Aligned) => HTMLElement): HTMLElement => el("tr", {}, el("th", { scope: "row" }, badge), ...rows.map(of));
  const table = el(
    "table",
    { class: "lab-pair" },
    el("caption", { class: "lab-hidden" }, `${names[0]} and ${names[1]}, token by token`),
    el(
      "tbody",
      {},
      el("tr", {}, el("td", {}), ...rows.map((row) => el("td", { class: "lab-soft" }, "left" in row ? String(row.left) : "+"))),
      line(runBadge("clean", names[0]), (row) => cell("left" in row ? clean[row.left] : undefined)),
      line(runBadge("corrupted", names[1]), (row) => cell("right" in row ? other[row.right] : undefined)),
      el("tr", {}, el("th", { scope: "row", class: "lab-soft" }, "differs"), ...rows.map((row) => el("td", {}, row.kind === "same" ? "" : row.kind === "changed" ? "≠" : "+"))),
    ),
  );
  rows.forEach((row, index) => {
    if (row.kind === "same") return;
    for (const each of table.querySelectorAll(`tr > :nth-child(${index + 2})`)) each.setAttribute("data-differs", "");
  });
  return el("div", { class: "lab-pair-scroll", tabindex: "0", role: "region", "aria-label": "Both prompts, token by token" }, table);
}

