// Owns the list of keys, and the switch that turns the single ones off.

import { el } from "../dom";
import type { Key } from "../reading/keys";
import type { Settings } from "../reading/settings";
import { Sheet } from "./sheet";

/** Keys that always work: they need a modifier, or belong to what has the focus. */
const OTHERS: readonly (readonly [string[], string])[] = [
  [["Ctrl", "K"], "Search the book"],
  [["Shift", "Enter"], "Run the cell whose code has the focus"],
  [["Esc"], "Leave the code, close what is open, put a definition away"],
  [["Tab"], "Go to the next link, term or button"],
];

export class Help {
  readonly #sheet: Sheet;
  readonly #switch = el("input", { type: "checkbox" });

  constructor(private readonly settings: Settings, keys: readonly Key[], signal: AbortSignal) {
    this.#sheet = new Sheet("Keys", "middle", signal);
    this.#switch.addEventListener("change", () => settings.change({ keys: this.#switch.checked }), { signal });
    this.#sheet.body.append(
      table("Single keys", keys.map(({ key, does }) => [[key], does] as const)),
      el("label", { class: "tl-help-switch" }, this.#switch, el("span", {}, "Single keys do something. They never do while you type.")),
      table("Other keys", OTHERS),
    );
  }

  open(): void {
    this.#switch.checked = this.settings.now.keys;
    this.#sheet.open(this.#switch);
  }
}

function table(caption: string, rows: readonly (readonly [readonly string[], string])[]): HTMLElement {
  const lines = rows.map(([keys, does]) => el("tr", {}, el("th", { scope: "row" }, ...joined(keys)), el("td", {}, does)));
  return el("table", { class: "tl-help" }, el("caption", {}, caption), el("tbody", {}, ...lines));
}

function joined(keys: readonly string[]): (HTMLElement | string)[] {
  return keys.flatMap((key, at) => (at === 0 ? [el("kbd", {}, key)] : ["+", el("kbd", {}, key)]));
}
