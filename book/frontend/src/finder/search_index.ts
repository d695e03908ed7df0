// Owns finding: the entries that the build listed, put into an index in the browser. Forgives a slip of the finger.

import MiniSearch, { type SearchResult } from "minisearch";

export const KINDS = ["lesson", "term", "how-to", "background", "api", "reference", "error", "page"] as const;
export type Kind = (typeof KINDS)[number];

export interface Entry {
  readonly kind: Kind;
  readonly page: string;
  readonly anchor: string;
  readonly title: string;
  /** The title of the page, where the entry is a part of one. */
  readonly within: string;
  readonly excerpt: string;
  /** Further words of its text, each once. */
  readonly words: string;
}

export interface Hit {
  readonly entry: Entry;
  /** The words of the text that answered, for marking them. */
  readonly found: readonly string[];
}

export interface Group {
  readonly kind: Kind;
  readonly hits: readonly Hit[];
}

/** What one more likely looks for stands higher. */
const WEIGHT: Record<Kind, number> = { lesson: 1.6, term: 2, "how-to": 1.2, background: 1.2, api: 1, reference: 0.9, error: 1.1, page: 1 };
const MOST_RESULTS = 200;
const FEW = 4;

export class SearchIndex {
  readonly #entries: readonly Entry[];
  readonly #search = new MiniSearch<Entry & { id: number }>({
    fields: ["title", "within", "excerpt", "words"],
    storeFields: [],
    tokenize: wordsOf,
    searchOptions: { tokenize: partsOf },
  });

  constructor(entries: readonly Entry[]) {
    this.#entries = entries;
    this.#search.addAll(entries.map((entry, id) => ({ ...entry, id })));
  }

  /** What answers all words, or, where nothing does, any of them; grouped by kind, the best group first. */
  find(query: string): Group[] {
    // All words; with slips in short ones too where that finds little; then any of them.
    const results = this.#results(query, "AND", 4);
    if (results.length < FEW) addNew(results, this.#results(query, "AND", 3));
    if (results.length < FEW) addNew(results, this.#results(query, "OR", 4));
    const groups = new Map<Kind, Hit[]>();
    for (const result of results.slice(0, MOST_RESULTS)) {
      const entry = this.#entries[result.id as number];
      if (!entry) continue;
      const hits = groups.get(entry.kind) ?? [];
      hits.push({ entry, found: Object.keys(result.match) });
      groups.set(entry.kind, hits);
    }
    return [...groups].map(([kind, hits]) => ({ kind, hits }));
  }

  /** @param shortest words of at least so many letters may have a slip. */
  #results(query: string, combineWith: "AND" | "OR", shortest: number): SearchResult[] {
    return this.#search.search(query.slice(0, 200), {
      combineWith,
      prefix: (term) => term.length > 1,
      // One slip in a short word, two in a long one.
      fuzzy: (term) => (term.length < shortest ? false : term.length < 8 ? 1 : 2),
      boost: { title: 4, within: 1.3 },
      boostDocument: (id) => WEIGHT[this.#entries[id as number]?.kind ?? "page"],
    });
  }
}

function addNew(results: SearchResult[], more: SearchResult[]): void {
  const known = new Set(results.map(({ id }) => id as number));
  results.push(...more.filter(({ id }) => !known.has(id as number)));
}

/** Words of a text; a compound such as `logit_lens` counts whole and in parts. */
export function wordsOf(text: string): string[] {
  const words = text.split(/[^\p{L}\p{N}_-]+/u).filter((word) => word !== "");
  return words.flatMap((word) => {
    const parts = partsOf(word);
    return parts.length > 1 ? [word, ...parts] : parts;
  });
}

export function partsOf(text: string): string[] {
  return text.split(/[^\p{L}\p{N}]+/u).filter((part) => part !== "");
}

/** Entries as the build wrote them, as rows; a damaged one is left out. */
export function parseIndex(raw: unknown): Entry[] {
  if (!Array.isArray(raw)) return [];
  return raw.flatMap((row: unknown) => {
    if (!Array.isArray(row) || row.length !== 7 || !row.every((field) => typeof field === "string")) return [];
    const [kind, page, anchor, title, within, excerpt, words] = row as [string, string, string, string, string, string, string];
    const known = KINDS.find((name) => name === kind);
    return known ? [{ kind: known, page, anchor, title, within, excerpt, words }] : [];
  });
}
