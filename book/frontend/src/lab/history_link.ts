// Owns the permalink: a Lab's state as a URL fragment or as text, and back. What comes in is foreign and checked field by field.

import type { LabNow } from "./app_contract";
import type { LabState, Question } from "./contract";
import { checkedExperiment, checkedState } from "./history_shapes";
import { isObject } from "./sources/shapes";

export const PREFIX = "lab=";

/** Longer links are cut by mail programs and chats, and no link of ours is. */
const LONGEST = 60_000;

export type Read = { readonly kind: "none" } | { readonly kind: "state"; readonly state: LabState } | { readonly kind: "wrong"; readonly message: string };

/** Reads an experiment that was exported as JSON, as a state with this one experiment. */
export function readExperiment(text: string): Read {
  if (!text.trimStart().startsWith("{")) return { kind: "none" };
  const entry = checkedExperiment(parsed(text));
  if (typeof entry === "string") return { kind: "wrong", message: `This experiment cannot be opened (${entry}). Take a file that the Lab itself exported as JSON.` };
  const { model, prompt } = entry.question;
  return { kind: "state", state: { model, prompt, mode: "look", position: null, part: null, history: [entry] } };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** What is shown now, as a state; null before the first prompt was answered. */
export function stateOf(now: LabNow): LabState | null {
  if (!now.baseline) return null;
  const { model, prompt } = now.baseline;
  return {
    model, prompt, mode: now.mode, position: now.selection.position, part: now.selection.parts.at(-1) ?? null,
    history: now.history.map(({ name, question, predicted }) => ({ name, question, predicted })),
  };
}

/** The state as text for a URL: base64url of JSON; a question says model and prompt only where they are others. */
export function linkText(state: LabState): string {
  const short = { ...state, history: state.history.map((entry) => ({ ...entry, question: shortened(entry.question, state) })) };
  const bytes = new TextEncoder().encode(JSON.stringify(short));
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return PREFIX + btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** Reads a fragment, a whole address, or the text alone. */
export function readLink(given: string): Read {
  const start = given.search(/(?:^|[#&?\s])lab=/);
  if (start < 0) return { kind: "none" };
  const text = given.slice(given.indexOf(PREFIX, start) + PREFIX.length).split(/[&\s]/)[0] ?? "";
  if (text.length > LONGEST) return wrong(`it is longer than ${LONGEST} letters`);
  const raw = decoded(text);
  if (!isObject(raw)) return wrong("it is not whole: perhaps its end was cut off when it was copied");
  const state = checkedState(filled(raw));
  return typeof state === "string" ? wrong(state) : { kind: "state", state };
}

function wrong(reason: string): Read {
  return { kind: "wrong", message: `This link to a Lab cannot be opened (${reason}). Ask for it again, or begin with a prompt of your own.` };
}

function decoded(text: string): unknown {
  try {
    const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (char) => char.charCodeAt(0));
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return null;
  }
}

function shortened(question: Question, { model, prompt }: Pick<LabState, "model" | "prompt">): Partial<Question> {
  const { model: own, prompt: ownPrompt, ...rest } = question;
  return { ...rest, ...(own === model ? {} : { model: own }), ...(ownPrompt === prompt ? {} : { prompt: ownPrompt }) } as Partial<Question>;
}

function filled(raw: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  if (!Array.isArray(raw["history"])) return raw;
  const fill = (entry: unknown): unknown => {
    if (!isObject(entry) || !isObject(entry["question"])) return entry;
    return { ...entry, question: { model: raw["model"], prompt: raw["prompt"], ...entry["question"] } };
  };
  return { ...raw, history: raw["history"].map(fill) };
}
