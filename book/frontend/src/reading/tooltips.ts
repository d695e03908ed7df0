// Owns the bubble with a term's definition: on hover and focus, to be hovered itself, gone with Escape (WCAG 1.4.13).

import { el } from "../dom";
import type { PageConfig } from "../page_config";
import { loadGlossary, type GlossaryEntry } from "./glossary_data";
import { placeBubble } from "./placing";

const TERM = "a.tl-term";
const ID = "tl-bubble";
/** Long enough that a pointer passing over the text raises nothing. */
const SHOW_MS = 150;
/** Long enough to bring the pointer from the word into the bubble. */
const HIDE_MS = 250;

type State =
  | { readonly kind: "hidden" }
  | { readonly kind: "waiting"; readonly link: HTMLAnchorElement; readonly timer: number }
  | { readonly kind: "shown"; readonly link: HTMLAnchorElement; readonly leaving: number | null };

export class Tooltips {
  readonly #bubble = el("div", { id: ID, class: "tl-bubble", role: "tooltip", popover: "manual" });
  #state: State = { kind: "hidden" };
  #touched: HTMLAnchorElement | null = null;

  constructor(private readonly config: PageConfig, private readonly signal: AbortSignal) {
    if (!document.querySelector(TERM)) return;
    (document.querySelector("main") ?? document.body).append(this.#bubble);
    const on = <K extends keyof DocumentEventMap>(type: K, act: (event: DocumentEventMap[K]) => void): void =>
      document.addEventListener(type, act, { signal });
    on("pointerover", (event) => event.pointerType === "touch" || this.#over(event.target));
    on("pointerout", (event) => event.pointerType === "touch" || this.#out(event.target));
    on("focusin", (event) => this.#focused(event.target));
    on("focusout", (event) => termOf(event.target) && this.#hide());
    on("keydown", (event) => this.#key(event));
    on("pointerdown", (event) => this.#down(event));
    on("click", (event) => this.#click(event));
    window.addEventListener("resize", () => this.#hide(), { signal });
    signal.addEventListener("abort", () => this.#hide());
  }

  #over(target: EventTarget | null): void {
    const link = termOf(target);
    if (link) this.#wait(link);
    else if (this.#isInBubble(target)) this.#stay();
  }

  #out(target: EventTarget | null): void {
    const link = termOf(target);
    if (!link && !this.#isInBubble(target)) return;
    if (this.#state.kind === "waiting") this.#hide();
    if (this.#state.kind !== "shown" || this.#state.link === document.activeElement) return;
    this.#stay();
    this.#state = { ...this.#state, leaving: window.setTimeout(() => this.#hide(), HIDE_MS) };
  }

  #wait(link: HTMLAnchorElement): void {
    if (this.#state.kind === "shown" && this.#state.link === link) return this.#stay();
    this.#hide();
    this.#state = { kind: "waiting", link, timer: window.setTimeout(() => void this.#show(link), SHOW_MS) };
  }

  #stay(): void {
    if (this.#state.kind !== "shown" || this.#state.leaving === null) return;
    clearTimeout(this.#state.leaving);
    this.#state = { ...this.#state, leaving: null };
  }

  #focused(target: EventTarget | null): void {
    const link = termOf(target);
    // A press of the mouse gives the focus too, and is about to follow the link.
    if (link?.matches(":focus-visible")) void this.#show(link);
  }

  #key(event: KeyboardEvent): void {
    if (event.key !== "Escape" || this.#state.kind !== "shown") return;
    event.preventDefault();
    this.#hide();
  }

  #down(event: PointerEvent): void {
    const link = termOf(event.target);
    this.#touched = event.pointerType === "touch" ? link : null;
    if (!link && !this.#isInBubble(event.target)) this.#hide();
  }

  /** A finger cannot hover: its first tap shows the definition, its second follows the link. */
  #click(event: MouseEvent): void {
    const link = termOf(event.target);
    if (!link || link !== this.#touched) return;
    if (this.#state.kind === "shown" && this.#state.link === link) return;
    event.preventDefault();
    void this.#show(link);
  }

  async #show(link: HTMLAnchorElement): Promise<void> {
    this.#hide();
    // Keeps the place while the definitions load; whatever comes next replaces it.
    const waiting: State = { kind: "waiting", link, timer: 0 };
    this.#state = waiting;
    const entry = await this.#entryOf(link);
    if (this.#state !== waiting || this.signal.aborted) return;
    if (!entry) return this.#hide();
    this.#bubble.replaceChildren(el("strong", {}, entry.terms[0] ?? ""), el("span", {}, entry.says));
    this.#bubble.showPopover?.();
    placeBubble(this.#bubble, link);
    link.setAttribute("aria-describedby", ID);
    this.#state = { kind: "shown", link, leaving: null };
  }

  #hide(): void {
    const state = this.#state;
    this.#state = { kind: "hidden" };
    if (state.kind === "waiting") clearTimeout(state.timer);
    if (state.kind !== "shown") return;
    if (state.leaving !== null) clearTimeout(state.leaving);
    state.link.removeAttribute("aria-describedby");
    this.#bubble.hidePopover?.();
    this.#bubble.replaceChildren();
  }

  async #entryOf(link: HTMLAnchorElement): Promise<GlossaryEntry | null> {
    const id = decodeURIComponent(link.hash.slice(1));
    try {
      return (await loadGlossary(this.config)).find((entry) => entry.ids.includes(id)) ?? null;
    } catch {
      return null; // The link still leads to the definition.
    }
  }

  #isInBubble(target: EventTarget | null): boolean {
    return target instanceof Node && this.#bubble.contains(target);
  }
}

function termOf(target: EventTarget | null): HTMLAnchorElement | null {
  return target instanceof Element ? target.closest<HTMLAnchorElement>(TERM) : null;
}
