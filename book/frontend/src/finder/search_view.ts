// Owns the search field with its results, in the dialog and on the search page.

import { el } from "../dom";
import { loadScript, type Host } from "../parts";
import { siteUrl } from "../page_config";
import { marked } from "./marking";
import { parseIndex, SearchIndex, type Group, type Hit, type Kind } from "./search_index";
import { walkWithArrows } from "./sheet";

declare global {
  interface Window {
    tlSearchIndex?: unknown;
  }
}

const HEADINGS: Record<Kind, string> = {
  lesson: "Lessons",
  term: "Glossary",
  "how-to": "How to",
  background: "Background",
  api: "Library",
  reference: "Reference",
  error: "Errors",
  page: "Pages",
};
const FIRST = 5;

export class SearchView {
  readonly field = el("input", { type: "search", class: "tl-search-field", "aria-label": "Search the book", placeholder: "Lessons, terms, functions, error codes", autocomplete: "off", spellcheck: "false" });
  readonly #status = el("p", { class: "tl-search-status", role: "status" });
  readonly #results = el("div", { class: "tl-search-results" });
  readonly element = el("div", { class: "tl-search" }, this.field, this.#status, this.#results);
  #index: Promise<SearchIndex> | null = null;
  #asked = "";

  constructor(private readonly host: Host, private readonly signal: AbortSignal, private readonly heading: "h2" | "h3" = "h3", private readonly onChange: (query: string) => void = () => undefined) {
    this.field.addEventListener("input", () => void this.search(this.field.value), { signal });
    this.field.addEventListener("keydown", (event) => event.key === "Enter" && !event.isComposing && this.#links()[0]?.click(), { signal });
    walkWithArrows(this.field, this.element, () => this.#links(), signal);
  }

  /** Take over what was typed before the field was there. */
  type(typed: string): void {
    this.field.value = typed;
    void this.search(typed);
  }

  async search(query: string): Promise<void> {
    this.#asked = query.trim();
    const asked = this.#asked;
    this.onChange(asked);
    if (asked === "") return this.#show([], "");
    try {
      const index = await this.#loaded();
      if (this.#asked === asked) this.#showFound(index.find(asked), asked);
    } catch {
      this.#index = null;
      this.#show([], "The search did not load. Reload the page, or build the book anew if that does not help.");
    }
  }

  #loaded(): Promise<SearchIndex> {
    const load = async (): Promise<SearchIndex> => {
      await loadScript(siteUrl(this.host.config, "_static/search-index.js"));
      return new SearchIndex(parseIndex(window.tlSearchIndex));
    };
    return (this.#index ??= load());
  }

  #showFound(groups: Group[], asked: string): void {
    const count = groups.reduce((sum, { hits }) => sum + hits.length, 0);
    const words = count === 0 ? `Nothing found for “${asked}”. Try fewer or other words.` : `${count} ${count === 1 ? "result" : "results"}`;
    this.#show(groups, words);
  }

  #show(groups: Group[], words: string): void {
    this.#status.textContent = words;
    this.#results.replaceChildren(...groups.map((group) => this.#group(group)));
  }

  #group({ kind, hits }: Group): HTMLElement {
    const list = el("ul", {}, ...hits.slice(0, FIRST).map((hit) => this.#row(hit)));
    const section = el("section", {}, el(this.heading, {}, HEADINGS[kind]), list);
    const rest = hits.slice(FIRST);
    if (rest.length > 0) {
      const more = el("button", { type: "button", class: "tl-button" }, `${rest.length} more`, el("span", { class: "tl-hidden" }, ` in ${HEADINGS[kind]}`));
      more.addEventListener("click", () => {
        const rows = rest.map((hit) => this.#row(hit));
        list.append(...rows);
        more.remove();
        rows[0]?.querySelector("a")?.focus();
      }, { signal: this.signal });
      section.append(more);
    }
    return section;
  }

  #row({ entry, found }: Hit): HTMLElement {
    const hash = entry.anchor === "" ? "" : `#${encodeURIComponent(entry.anchor)}`;
    const href = siteUrl(this.host.config, `${entry.page}.html${hash}`);
    const title = el("span", { class: "tl-search-title" }, ...marked(entry.title, found));
    const within = entry.within === "" ? [] : [el("span", { class: "tl-search-within" }, entry.within)];
    const link = el("a", { href }, title, ...within, el("span", { class: "tl-search-excerpt" }, ...marked(entry.excerpt, found)));
    return el("li", {}, link);
  }

  #links(): HTMLElement[] {
    return [...this.#results.querySelectorAll<HTMLElement>("a")];
  }
}
