// Owns the Lab's sentences about what went wrong, with commands set as code and at most one way out as a button.

import { el } from "../../dom";
import { codePieces } from "../../server_error";

export interface WayOut {
  readonly words: string;
  press(): void;
}

export function note(text: string, wayOut: WayOut | null = null): HTMLElement {
  const words = codePieces(text).map((piece, index) => (index % 2 === 1 ? el("code", {}, piece) : piece));
  const box = el("div", { class: "lab-note", role: "status" }, el("p", {}, ...words));
  if (!wayOut) return box;
  const button = el("button", { type: "button", class: "lab-button" }, wayOut.words);
  button.addEventListener("click", () => wayOut.press());
  box.append(button);
  return box;
}
