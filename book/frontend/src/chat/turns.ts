// Owns the conversation: its turns, what each of them has so far, and keeping them for the tab. Draws nothing.

import { unreachable } from "../dom";
import type { Problem } from "../server_error";
import { parseMeta, parsePiece, parseSources, type ChatEvent, type Meta, type Piece, type Source } from "./messages";

export type TurnEnd =
  | { readonly kind: "open" }
  | { readonly kind: "done" }
  | { readonly kind: "stopped" }
  | { readonly kind: "failed"; readonly problem: Problem };

export interface Turn {
  readonly question: string;
  readonly meta: Meta | null;
  readonly sources: readonly Source[];
  readonly pieces: readonly Piece[];
  readonly end: TurnEnd;
}

export function newTurn(question: string): Turn {
  return { question, meta: null, sources: [], pieces: [], end: { kind: "open" } };
}

/** The turn after an event. */
export function advance(turn: Turn, event: ChatEvent): Turn {
  switch (event.kind) {
    case "meta":
      return { ...turn, meta: event.meta };
    case "sources":
      return { ...turn, sources: event.sources };
    case "text":
      return { ...turn, pieces: [...turn.pieces, event.piece] };
    case "done":
      return { ...turn, end: { kind: "done" } };
    case "error":
      return { ...turn, end: { kind: "failed", problem: event.problem } };
    default:
      return unreachable(event);
  }
}

/** What the server is told of the conversation so far. */
export function historyOf(turns: readonly Turn[]): { question: string; answer: string }[] {
  return turns
    .filter((turn) => turn.end.kind === "done" && turn.pieces.length > 0)
    .slice(-4)
    .map((turn) => ({ question: turn.question, answer: turn.pieces.map((piece) => piece.text).join(" ").slice(0, 2000) }));
}

const KEY = "tl-chat";
const KEPT = 12;

/** Keep the conversation for this tab, so that following a citation does not lose it. */
export function keep(turns: readonly Turn[]): void {
  try {
    const finished = turns.filter((turn) => turn.end.kind === "done").slice(-KEPT);
    window.sessionStorage.setItem(KEY, JSON.stringify(finished));
  } catch {
    // Storage is forbidden or full: the conversation lives as long as the page.
  }
}

export function kept(): Turn[] {
  try {
    const raw: unknown = JSON.parse(window.sessionStorage.getItem(KEY) ?? "[]");
    return Array.isArray(raw) ? raw.flatMap(parseTurn) : [];
  } catch {
    return [];
  }
}

function parseTurn(raw: unknown): Turn[] {
  const fields = (typeof raw === "object" && raw !== null ? raw : {}) as Record<string, unknown>;
  const { question, meta, sources, pieces } = fields;
  if (typeof question !== "string" || !Array.isArray(pieces)) return [];
  const stored = meta as { tier?: unknown; model?: unknown; isQuoted?: unknown } | null;
  const mode = stored?.isQuoted === true ? "extractive" : "model";
  return [
    {
      question,
      meta: stored ? parseMeta({ tier: stored.tier, model: stored.model, mode }) : null,
      sources: parseSources(sources),
      pieces: pieces.map(parsePiece),
      end: { kind: "done" },
    },
  ];
}
