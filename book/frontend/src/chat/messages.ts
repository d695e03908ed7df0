// Owns what the chat says: typed events out of the server's JSON. Refuses anything of another shape.

import { parseProblem, type Problem } from "../server_error";
import type { ServerEvent } from "./sse";

export type Tier = "answer" | "closest" | "none";

export interface Meta {
  readonly tier: Tier;
  /** The language model that wrote the words; null when they are quoted from the book. */
  readonly model: string | null;
  readonly isQuoted: boolean;
}

export interface Source {
  readonly n: number;
  readonly title: string;
  readonly section: string;
  readonly url: string;
}

export interface Piece {
  readonly text: string;
  readonly cites: readonly number[];
}

export type ChatEvent =
  | { readonly kind: "meta"; readonly meta: Meta }
  | { readonly kind: "sources"; readonly sources: readonly Source[] }
  | { readonly kind: "text"; readonly piece: Piece }
  | { readonly kind: "done" }
  | { readonly kind: "error"; readonly problem: Problem };

export function parseChatEvent({ event, data }: ServerEvent): ChatEvent | null {
  const raw = parseJson(data);
  switch (event) {
    case "meta":
      return { kind: "meta", meta: parseMeta(raw) };
    case "sources":
      return { kind: "sources", sources: parseSources(raw) };
    case "text":
      return { kind: "text", piece: parsePiece(raw) };
    case "done":
      return { kind: "done" };
    case "error":
      return { kind: "error", problem: parseProblem(raw, 0) };
    default:
      return null;
  }
}

export function parseMeta(raw: unknown): Meta {
  const { tier, mode, model } = fieldsOf(raw);
  return {
    tier: tier === "answer" || tier === "closest" ? tier : "none",
    model: typeof model === "string" ? model : null,
    isQuoted: mode !== "model",
  };
}

export function parseSources(raw: unknown): Source[] {
  if (!Array.isArray(raw)) return [];
  return raw.flatMap((entry: unknown) => {
    const { n, title, section, url } = fieldsOf(entry);
    if (typeof n !== "number" || !Number.isInteger(n)) return [];
    return [{ n, title: textOf(title), section: textOf(section), url: textOf(url) }];
  });
}

export function parsePiece(raw: unknown): Piece {
  const { text, cites } = fieldsOf(raw);
  return { text: textOf(text), cites: Array.isArray(cites) ? cites.filter((n) => Number.isInteger(n)) : [] };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function fieldsOf(raw: unknown): Record<string, unknown> {
  return typeof raw === "object" && raw !== null ? (raw as Record<string, unknown>) : {};
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
