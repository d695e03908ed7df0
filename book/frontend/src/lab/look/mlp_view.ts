// Owns the view of one MLP: the neurons that write most here, and which tokens they speak for and against.

import { el } from "../../dom";
import type { MlpAnswer } from "../contract";
import { plain, signed, visible } from "../drawing/words";
import { box, said, viewHead, type ViewPlace } from "./view_parts";

export function mlpView(answer: MlpAnswer, { lab, tokens }: ViewPlace): HTMLElement {
  const most = Math.max(...answer.neurons.map(({ length }) => length), 1e-9);
  const words = (list: readonly string[]): HTMLElement[] => list.map((token) => el("code", { class: "lab-token" }, visible(token)));
  const rows = answer.neurons.map(({ neuron, activation, length, answer_effect, promoted, suppressed }) => {
    const bar = el("span", { class: "lab-bar", "aria-hidden": "true" });
    bar.style.setProperty("--p", String(length / most));
    return el("tr", {},
      el("th", { scope: "row" }, String(neuron)),
      el("td", { class: "lab-number" }, plain(activation)),
      el("td", {}, bar, el("span", { class: "lab-number" }, plain(length))),
      el("td", { class: "lab-number" }, signed(answer_effect)),
      el("td", { class: "lab-words" }, ...words(promoted)),
      el("td", { class: "lab-words" }, ...words(suppressed)));
  });
  const heads = ["Neuron", "Activation", "Writes (length)", `On ${visible(answer.answer)}`, "Speaks for", "Speaks against"];
  const table = el("table", { class: "lab-table" }, el("thead", {}, el("tr", {}, ...heads.map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, ...rows));
  const scroll = el("div", { class: "lab-twin-scroll", tabindex: "0", role: "region", "aria-label": `Neurons of ${answer.part}` }, table);
  const head = viewHead(`MLP of block ${answer.part.replace(/\D/g, "")}`, answer.position, tokens, () => lab.select({ parts: [] }));
  const many = el("p", { class: "lab-fine" }, `The write is spread over some ${plain(answer.n_effective, 0)} neurons. A `, lab.term("neuron"), " that speaks for one token may well speak for others elsewhere.");
  return el("div", { class: "lab-view" }, head, said(answer), box(`The ${answer.neurons.length} neurons that write most`, many, scroll));
}
