// Owns choosing parts of the model without the picture: a picker for the keyboard, and the chosen parts as chips.

import { el } from "../../dom";
import type { LabHost } from "../app_contract";
import type { Part } from "../contract";
import { button } from "./asking";
import { kindsOf, lackOf, nameOf, readPart, toggled, type Named, type PartKind } from "./part_names";
import { factsOf } from "./run_facts";
import { partWords } from "./sentences";

const KINDS: Readonly<Record<PartKind, string>> = { head: "a head", mlp: "an MLP", attn: "a whole attention", layer: "a whole layer", stream: "the stream before a layer" };

export function labelled(words: string, field: HTMLElement): HTMLElement {
  return el("label", { class: "lab-field" }, el("span", {}, words), field);
}

/** A select with numbers; `chosen` outside of them is the first. */
export function numbers(count: number, chosen: number): HTMLSelectElement {
  const select = el("select", {});
  for (let value = 0; value < count; value += 1) select.append(el("option", { value: String(value), selected: value === chosen }, String(value)));
  return select;
}

/** The chosen parts as buttons that take them out again. */
export function chips(lab: LabHost, empty: string, signal: AbortSignal): HTMLElement {
  const list = el("ul", { class: "lab-picks", "aria-label": "Chosen parts", "data-tour": "chips" });
  const draw = (): void => {
    const { parts } = lab.store.now.selection;
    list.replaceChildren(...(parts.length === 0 ? [el("li", { class: "lab-soft" }, empty)] : parts.map(chip)));
  };
  const chip = (part: Part): HTMLElement => {
    const remove = button(part, () => lab.select({ parts: toggled(lab.store.now.selection.parts, part) }), signal);
    remove.classList.add("lab-pick");
    remove.setAttribute("aria-label", `${part}: take it out (${partWords(part)})`);
    remove.append(el("span", { "aria-hidden": "true" }, " ×"));
    return el("li", {}, remove);
  };
  lab.store.subscribe((now, before) => now.selection.parts !== before.selection.parts && draw(), signal);
  draw();
  return list;
}

/** Kind, layer and head as selects, or a typed name; `onPick` hears a part that this model has. */
export function partPicker(lab: LabHost, words: string, onPick: (part: Part) => void, signal: AbortSignal, only?: readonly PartKind[]): HTMLElement {
  const facts = factsOf(lab);
  const kind = el("select", {}, ...(only ?? kindsOf(facts)).map((name) => el("option", { value: name }, KINDS[name])));
  const layer = numbers(facts.n_layers, 0);
  const head = numbers(facts.n_heads, 0);
  const headField = labelled("head", head);
  kind.addEventListener("change", () => (headField.hidden = kind.value !== "head"), { signal });
  headField.hidden = kind.value !== "head";
  const picked = (): Named => {
    const named = kind.value as PartKind;
    return named === "head" ? { kind: named, layer: Number(layer.value), head: Number(head.value) } : { kind: named, layer: Number(layer.value) };
  };
  const add = button(words, () => onPick(nameOf(picked())), signal);
  return el("div", { class: "lab-picker", role: "group", "aria-label": "Choose a part" }, labelled("part", kind), labelled("layer", layer), headField, add, typed(lab, onPick, signal));
}

function typed(lab: LabHost, onPick: (part: Part) => void, signal: AbortSignal): HTMLElement {
  const problem = el("p", { class: "lab-lack", role: "alert" });
  const input = el("input", { type: "text", placeholder: "L3H4", size: "8", maxlength: "16", autocomplete: "off", spellcheck: "false" });
  const form = el("form", { class: "lab-typed" }, labelled("or by name", input), el("button", { type: "submit", class: "lab-button" }, "Take it"), problem);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const lack = lackOf(input.value.trim(), factsOf(lab));
    problem.textContent = lack ?? "";
    const named = lack === null ? readPart(input.value) : null;
    if (!named) return;
    input.value = "";
    onPick(nameOf(named));
  }, { signal });
  return form;
}

/** Radio buttons as one row of words, each with its sentence below while chosen. */
export function choiceRow<T extends string>(
  title: string, choices: readonly { readonly value: T; readonly words: string; readonly says: string }[], chosen: T, onChoose: (value: T) => void, signal: AbortSignal,
): HTMLElement {
  const name = `lab-choice-${(counter += 1)}`;
  const says = el("p", { class: "lab-soft" }, choices.find(({ value }) => value === chosen)?.says ?? "");
  const options = choices.map(({ value, words, says: sentence }) => {
    const radio = el("input", { type: "radio", name, value, checked: value === chosen });
    radio.addEventListener("change", () => {
      says.textContent = sentence;
      onChoose(value);
    }, { signal });
    return el("label", { class: "lab-option" }, radio, el("span", {}, words));
  });
  return el("fieldset", { class: "lab-options", "data-tour": `options-${title.toLowerCase().replaceAll(" ", "-")}` }, el("legend", {}, title), el("div", { class: "lab-row" }, ...options), says);
}

let counter = 0;
