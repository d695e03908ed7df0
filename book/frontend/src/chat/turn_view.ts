// Owns how one question and its answer look. Text nodes only; links only to pages of the book.

import { notice } from "../cells/notice";
import { el, unreachable, type Child } from "../dom";
import { inlines, type Inline } from "./inline";
import { bookLink } from "./links";
import type { Meta, Source, Tier } from "./messages";
import type { Turn } from "./turns";

export class TurnView {
  readonly element: HTMLElement;
  readonly #answer = el("div", { class: "tl-chat-answer" });
  #closing: string = "";

  constructor(private readonly root: string, turn: Turn) {
    this.element = el("article", { class: "tl-chat-turn" }, el("p", { class: "tl-chat-question" }, turn.question), this.#answer);
    this.show(turn);
  }

  show(turn: Turn): void {
    this.#closing = turn.end.kind;
    this.#answer.replaceChildren(
      ...(turn.meta ? [tierLine(turn.meta)] : []),
      ...(turn.pieces.length > 0 ? [this.#text(turn)] : []),
      ...(turn.sources.length > 0 && turn.end.kind !== "open" ? [this.#sources(turn.sources)] : []),
      ...ending(turn),
    );
  }

  get isOpen(): boolean {
    return this.#closing === "open";
  }

  #text(turn: Turn): HTMLElement {
    const known = new Map(turn.sources.map((source) => [source.n, source]));
    const spans = inlines(turn.pieces, turn.meta?.isQuoted ?? true, new Set(known.keys()));
    return el("p", { class: "tl-chat-text" }, ...spans.map((span) => this.#span(span, known)));
  }

  #span(span: Inline, known: ReadonlyMap<number, Source>): Child {
    switch (span.kind) {
      case "text":
        return span.text;
      case "bold":
        return el("strong", {}, span.text);
      case "code":
        return el("code", {}, span.text);
      case "cite":
        // The word joiner keeps the number on the line of the sentence that it backs.
        return el("sup", {}, "\u2060", this.#link(known.get(span.n), `[${span.n}]`));
      default:
        return unreachable(span);
    }
  }

  #sources(sources: readonly Source[]): HTMLElement {
    const items = sources.map((source) => {
      const words = [source.title, source.section].filter((part) => part !== "").join(" · ");
      return el("li", { value: String(source.n) }, this.#link(source, words || `Source ${source.n}`));
    });
    return el("section", { class: "tl-chat-sources" }, el("h3", {}, "Sources"), el("ol", {}, ...items));
  }

  #link(source: Source | undefined, words: string): Child {
    const href = source ? bookLink(this.root, source.url) : null;
    if (!source || href === null) return words;
    return el("a", { href, title: [source.title, source.section].filter(Boolean).join(" · ") }, words);
  }
}

function tierLine(meta: Meta): HTMLElement {
  return el(
    "p",
    { class: "tl-chat-tier", "data-tier": meta.tier },
    el("strong", {}, tierWords(meta.tier)),
    meta.tier === "none" ? "" : ` · ${authorWords(meta)}`,
  );
}

export function tierWords(tier: Tier): string {
  switch (tier) {
    case "answer":
      return "Answer";
    case "closest":
      return "The closest I have";
    case "none":
      return "The book does not cover this";
    default:
      return unreachable(tier);
  }
}

function authorWords(meta: Meta): string {
  if (meta.isQuoted) return "quoted from the book";
  return meta.model ? `written by ${meta.model} from the sources` : "written by a language model from the sources";
}

function ending(turn: Turn): HTMLElement[] {
  switch (turn.end.kind) {
    case "open":
      return turn.pieces.length > 0 ? [] : [el("p", { class: "tl-chat-waiting" }, "Looking it up…")];
    case "done":
      return [];
    case "stopped":
      return [el("p", { class: "tl-chat-waiting" }, "Stopped.")];
    case "failed":
      return [notice(turn.end.problem)];
    default:
      return unreachable(turn.end);
  }
}
