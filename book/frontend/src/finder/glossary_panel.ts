// Owns the glossary beside the page: every term with its sentence, narrowed down by typing.

import { el } from "../dom";
import type { Host } from "../parts";
import { siteUrl } from "../page_config";
import { entryUrl, loadGlossary, type GlossaryEntry } from "../reading/glossary_data";
import { Sheet, walkWithArrows } from "./sheet";

export class GlossaryPanel {
  readonly #sheet: Sheet;
  readonly #field = el("input", { type: "search", class: "tl-search-field", "aria-label": "Find a term", placeholder: "Find a term", autocomplete: "off", spellcheck: "false" });
  readonly #status = el("p", { class: "tl-search-status", role: "status" });
  readonly #list = el("dl", { class: "tl-glossary" });
  #entries: readonly GlossaryEntry[] | null = null;

  constructor(private readonly host: Host, signal: AbortSignal) {
    this.#sheet = new Sheet("Glossary", "side", signal);
    this.#sheet.body.append(this.#field, this.#status, this.#list);
    this.#field.addEventListener("input", () => this.#show(), { signal });
    // On the glossary's own page an entry loads nothing new: the panel has to go by itself.
    this.#list.addEventListener("click", (event) => event.target instanceof Element && event.target.closest("a") && this.#sheet.close(), { signal });
    walkWithArrows(this.#field, this.#sheet.body, () => [...this.#list.querySelectorAll<HTMLElement>("dt a")], signal);
  }

  async open(typed: string): Promise<void> {
    this.#sheet.open(this.#field);
    if (typed === "") this.#field.select();
    else this.#field.value = typed;
    try {
      this.#entries ??= await loadGlossary(this.host.config);
      this.#show();
    } catch {
      this.#status.textContent = "The glossary did not load. Its page is in the contents, under Reference.";
    }
  }

  #show(): void {
    const all = this.#entries ?? [];
    const found = matching(all, this.#field.value);
    this.#status.textContent = found.length === all.length ? `${all.length} terms` : `${found.length} of ${all.length} terms`;
    this.#list.replaceChildren(...found.map((entry) => this.#row(entry)));
  }

  #row(entry: GlossaryEntry): HTMLElement {
    const others = entry.terms.length > 1 ? [el("span", { class: "tl-glossary-other" }, `, ${entry.terms.slice(1).join(", ")}`)] : [];
    const name = el("dt", {}, el("a", { href: entryUrl(this.host.config, entry) }, entry.terms[0] ?? ""), ...others);
    const parts = [el("p", {}, entry.says)];
    if (entry.page !== "") {
      parts.push(el("p", { class: "tl-glossary-shown" }, "Shown in ", el("a", { href: siteUrl(this.host.config, `${entry.page}.html`) }, entry.title)));
    }
    return el("div", {}, name, el("dd", {}, ...parts));
  }
}

/** Entries that hold all the words typed: those whose name begins so first, then in a name, then in the sentence. */
export function matching(entries: readonly GlossaryEntry[], typed: string): GlossaryEntry[] {
  const words = typed.toLowerCase().split(/\s+/).filter((word) => word !== "");
  if (words.length === 0) return [...entries];
  const asked = words.join(" ");
  const rank = (entry: GlossaryEntry): number => {
    const names = entry.terms.map((term) => term.toLowerCase());
    if (names.some((name) => name.startsWith(asked))) return 0;
    if (names.some((name) => words.every((word) => name.includes(word)))) return 1;
    const text = `${names.join(" ")} ${entry.says.toLowerCase()}`;
    return words.every((word) => text.includes(word)) ? 2 : 3;
  };
  return entries
    .map((entry) => ({ entry, at: rank(entry) }))
    .filter(({ at }) => at < 3)
    .sort((a, b) => a.at - b.at)
    .map(({ entry }) => entry);
}
