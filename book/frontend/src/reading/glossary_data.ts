// Owns the glossary's entries in the browser: one small script, written with the book, loaded when first asked for.

import { loadScript } from "../parts";
import { siteUrl, type PageConfig } from "../page_config";

export interface GlossaryEntry {
  readonly terms: readonly string[];
  /** Their ids in the glossary page, in the same order. */
  readonly ids: readonly string[];
  readonly says: string;
  /** The lesson that shows it, as a document name with its title; both empty without one. */
  readonly page: string;
  readonly title: string;
}

declare global {
  interface Window {
    tlGlossary?: unknown;
  }
}

export const GLOSSARY_PAGE = "book/glossary";

export async function loadGlossary(config: PageConfig): Promise<readonly GlossaryEntry[]> {
  if (window.tlGlossary === undefined) await loadScript(siteUrl(config, "_static/glossary.js"));
  return parseGlossary(window.tlGlossary);
}

/** Entries as the build wrote them; a damaged one is left out. */
export function parseGlossary(raw: unknown): GlossaryEntry[] {
  return Array.isArray(raw) ? raw.filter(isEntry) : [];
}

function isEntry(raw: unknown): raw is GlossaryEntry {
  if (typeof raw !== "object" || raw === null) return false;
  const { terms, ids, says, page, title } = raw as Record<string, unknown>;
  return areTexts(terms) && areTexts(ids) && terms.length === ids.length && [says, page, title].every((text) => typeof text === "string");
}

function areTexts(raw: unknown): raw is string[] {
  return Array.isArray(raw) && raw.length > 0 && raw.every((item) => typeof item === "string");
}

export function entryUrl(config: PageConfig, entry: GlossaryEntry): string {
  return siteUrl(config, `${GLOSSARY_PAGE}.html#${entry.ids[0] ?? ""}`);
}
