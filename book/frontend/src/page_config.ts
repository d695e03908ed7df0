// Owns what the build told this page about itself. Refuses to guess: a damaged or missing block means an offline page.

export interface PageConfig {
  /** Document name, such as `lessons/tour`. */
  readonly page: string;
  /** Relative prefix from this page to the site root: `` or `../`. */
  readonly root: string;
  readonly live: boolean;
  readonly chat: boolean;
}

const OFFLINE: PageConfig = { page: "", root: "", live: false, chat: false };

export function readConfig(document: Document): PageConfig {
  const block = document.getElementById("tl-page")?.textContent;
  if (!block) return OFFLINE;
  try {
    return parseConfig(JSON.parse(block));
  } catch {
    return OFFLINE;
  }
}

export function parseConfig(raw: unknown): PageConfig {
  if (typeof raw !== "object" || raw === null) return OFFLINE;
  const { page, root, live, chat } = raw as Record<string, unknown>;
  return {
    page: typeof page === "string" ? page : "",
    root: typeof root === "string" && /^(\.\.\/)*$/.test(root) ? root : "",
    live: live === true,
    chat: chat === true,
  };
}

/** The absolute address of a file under the site root. */
export function siteUrl(config: PageConfig, path: string): string {
  // An empty address would be the page itself.
  return new URL(config.root + path || "./", document.baseURI).href;
}
