// Owns the dialogs for search, glossary and keys: modal, closed by Escape, a press beside them, or their button.
// The browser keeps the focus inside and gives it back to where it was.

import { el, icon } from "../dom";

export class Sheet {
  readonly element: HTMLDialogElement;
  readonly body = el("div", { class: "tl-sheet-body" });

  constructor(title: string, kind: "middle" | "side", signal: AbortSignal) {
    const id = `tl-sheet-${title.toLowerCase().replace(/\W+/g, "-")}`;
    const close = el("button", { type: "button", class: "tl-button tl-sheet-close", "aria-label": `Close ${title.toLowerCase()}` }, icon("close"));
    close.addEventListener("click", () => this.element.close(), { signal });
    const head = el("div", { class: "tl-sheet-head" }, el("h2", { id }, title), close);
    this.element = el("dialog", { class: `tl-sheet tl-sheet-${kind}`, "aria-labelledby": id }, head, this.body);
    this.element.addEventListener("click", (event) => event.target === this.element && this.element.close(), { signal });
    document.body.append(this.element);
    signal.addEventListener("abort", () => this.element.remove());
  }

  open(first: HTMLElement): void {
    if (!this.element.open) this.element.showModal();
    first.focus();
  }

  close(): void {
    this.element.close();
  }
}

/** Up and down arrows walk through `items()`, from and back to the field above them. */
export function walkWithArrows(field: HTMLElement, area: HTMLElement, items: () => HTMLElement[], signal: AbortSignal): void {
  area.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
      const all = items();
      const at = all.indexOf(document.activeElement as HTMLElement);
      const next = at + (event.key === "ArrowDown" ? 1 : -1);
      if (next >= all.length || (at < 0 && event.key === "ArrowUp")) return;
      event.preventDefault();
      (all[next] ?? field).focus();
    },
    { signal },
  );
}
