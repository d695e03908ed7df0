// Owns what the browser remembers of a reader: depth, keys, pages read. It stays in the browser; nobody is told.

export const DEPTHS = ["main", "closer", "research"] as const;
export type Depth = (typeof DEPTHS)[number];

export interface Remembered {
  readonly depth: Depth;
  /** Whether single keys such as `g` do something. */
  readonly keys: boolean;
  /** Document names of pages that the reader marked as read. */
  readonly read: readonly string[];
}

const NAME = "tl-reading";
const NEW: Remembered = { depth: "main", keys: true, read: [] };
const MOST_PAGES = 2000;

type Store = Pick<Storage, "getItem" | "setItem">;

export class Settings {
  #now: Remembered;

  constructor(private readonly store: Store | null = browserStore()) {
    this.#now = parse(this.#stored());
  }

  get now(): Remembered {
    return this.#now;
  }

  /** Change some of it; what another tab changed in the meantime stays. */
  change(changes: Partial<Remembered>): void {
    const stored = this.#stored();
    this.#now = { ...(stored === null ? this.#now : parse(stored)), ...changes };
    try {
      this.store?.setItem(NAME, JSON.stringify(this.#now));
    } catch {
      // A full or forbidden store: the choice lasts as long as the page.
    }
  }

  #stored(): string | null {
    try {
      return this.store?.getItem(NAME) ?? null;
    } catch {
      return null;
    }
  }
}

/** Read what was stored; whatever is damaged falls back to a new reader's. */
export function parse(text: string | null): Remembered {
  if (text === null) return NEW;
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch {
    return NEW;
  }
  if (typeof raw !== "object" || raw === null) return NEW;
  const { depth, keys, read } = raw as Record<string, unknown>;
  return {
    depth: DEPTHS.find((known) => known === depth) ?? NEW.depth,
    keys: typeof keys === "boolean" ? keys : NEW.keys,
    read: Array.isArray(read) ? read.filter((page): page is string => typeof page === "string").slice(0, MOST_PAGES) : NEW.read,
  };
}

/** A browser may forbid storage (private windows, local files). */
function browserStore(): Store | null {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}
