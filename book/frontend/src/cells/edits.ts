// Owns the reader's edits between visits: one entry a cell in the browser's storage. Refuses to lose either text when the book's changed.

const PREFIX = "tl-edit";
/** So many cells may have been taken out of the page since. */
const BEYOND = 50;

export type KeptEdit =
  | { readonly kind: "none" }
  | { readonly kind: "mine"; readonly mine: string }
  /** The book's code is no longer the one that was edited. */
  | { readonly kind: "outdated"; readonly mine: string; readonly book: string };

type Store = Pick<Storage, "getItem" | "setItem" | "removeItem">;

interface Entry {
  /** The book's code when the edit was made. */
  readonly book: string;
  readonly mine: string;
}

export class Edits {
  constructor(
    private readonly page: string,
    private readonly store: Store | null = browserStorage(),
  ) {}

  /** Let edits follow their cells, where the book has moved these since. */
  arrange(sources: readonly string[]): void {
    const kept = Array.from({ length: sources.length + BEYOND }, (_, index) => ({ index, entry: parseEntry(this.#read(index)) }));
    const free = new Set(sources.keys());
    for (const { index, entry } of kept) {
      // An edit whose cell is here stays; one whose cell is nowhere waits where it is for the reader.
      if (entry && (sources[index] === entry.book || !sources.includes(entry.book))) free.delete(index);
    }
    for (const { index, entry } of kept) {
      if (!entry || sources[index] === entry.book) continue;
      const home = [...free].find((each) => sources[each] === entry.book);
      if (home === undefined || !this.save(home, entry.book, entry.mine)) continue;
      free.delete(home);
      // Unless another edit has just moved here.
      if (parseEntry(this.#read(index))?.book === entry.book && home !== index) this.forget(index);
    }
  }

  load(index: number, book: string): KeptEdit {
    const entry = parseEntry(this.#read(index));
    if (!entry || entry.mine === book) return { kind: "none" };
    return entry.book === book ? { kind: "mine", mine: entry.mine } : { kind: "outdated", ...entry };
  }

  /** Keep an edit, or forget it where it says what the book says. Answers whether the browser kept it. */
  save(index: number, book: string, mine: string): boolean {
    try {
      if (mine === book) this.store?.removeItem(this.#key(index));
      else this.store?.setItem(this.#key(index), JSON.stringify({ book, mine } satisfies Entry));
      return this.store !== null || mine === book;
    } catch {
      return false;
    }
  }

  forget(index: number): void {
    try {
      this.store?.removeItem(this.#key(index));
    } catch {
      // What cannot be written cannot have been kept.
    }
  }

  #read(index: number): string | null {
    try {
      return this.store?.getItem(this.#key(index)) ?? null;
    } catch {
      return null;
    }
  }

  #key(index: number): string {
    return `${PREFIX}:${this.page}:${index + 1}`;
  }
}

function parseEntry(text: string | null): Entry | null {
  if (text === null) return null;
  try {
    const { book, mine } = JSON.parse(text) as Record<string, unknown>;
    return typeof book === "string" && typeof mine === "string" ? { book, mine } : null;
  } catch {
    return null;
  }
}

/** A browser may forbid storage (private windows, local files): then an edit lives as long as the page. */
function browserStorage(): Storage | null {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}
