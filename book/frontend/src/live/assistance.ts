// Owns what a kernel's answers about unfinished code mean. Pure; places count UTF-16 units here and characters there.

import type { Completions } from "./contract";

type Fields = Record<string, unknown>;

/** A longer list helps nobody. */
const MAX_NAMES = 300;
const IDENTIFIER = /^[\p{L}_][\p{L}\p{N}_]*$/u;

export function characters(code: string, at: number): number {
  return [...code.slice(0, at)].length;
}

export function units(code: string, character: number): number {
  return [...code].slice(0, character).join("").length;
}

export function completionsOf(code: string, content: object): Completions {
  const { matches, cursor_start, cursor_end, metadata } = content as Fields;
  const kinds = kindsOf(metadata);
  const texts = Array.isArray(matches) ? matches.filter((match): match is string => typeof match === "string") : [];
  // Magic commands and files are no part of a lesson.
  const wanted = texts.filter((text) => !/[%/\n]/.test(text)).slice(0, MAX_NAMES);
  // Some answers begin at the dot, which the reader has written already.
  const skipped = wanted.length > 0 && wanted.every((text) => text.startsWith(".")) ? 1 : 0;
  return {
    from: units(code, (Number(cursor_start) || 0) + skipped),
    to: units(code, Number(cursor_end) || 0),
    names: wanted.map((text) => ({ text: text.slice(skipped), kind: kinds.get(text) ?? "" })),
  };
}

export function inspectionOf(content: object): string {
  const { found, data } = content as Fields;
  const text = found === true && typeof data === "object" && data !== null ? (data as Fields)["text/plain"] : "";
  return typeof text === "string" ? text : "";
}

/** An expression whose value lists which of `names` exist. */
export function whichExist(names: readonly string[]): string {
  const list = names.filter((name) => IDENTIFIER.test(name)).map((name) => JSON.stringify(name));
  return `" ".join(name for name in [${list.join(", ")}] if name in globals())`;
}

export function existing(content: object): ReadonlySet<string> {
  const expressions = (content as Fields)["user_expressions"] as Record<string, Fields> | undefined;
  const data = expressions?.["names"]?.["data"] as Fields | undefined;
  const text = data?.["text/plain"];
  return new Set(typeof text === "string" ? text.replace(/^['"]|['"]$/g, "").split(" ") : []);
}

function kindsOf(metadata: unknown): Map<string, string> {
  const typed = typeof metadata === "object" && metadata !== null ? (metadata as Fields)["_jupyter_types_experimental"] : null;
  const rows = Array.isArray(typed) ? (typed as Fields[]) : [];
  return new Map(rows.map((row) => [String(row["text"]), String(row["type"])]));
}
