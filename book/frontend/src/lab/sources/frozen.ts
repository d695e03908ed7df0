// Owns answers that were computed when the book was built: one file a prompt, loaded when it is opened.
// Files are classic scripts, since a page from file:// may fetch nothing.

import { LabRefusal } from "../app_contract";
import type { Answers, FrozenFile, Question, Source } from "../contract";
import { canonical } from "./canonical";
import { checked } from "./checked";
import { isObject, list, number, record, text } from "./shapes";

export interface FrozenEntry {
  readonly model: string;
  readonly prompt: string;
  readonly name: string;
}

declare global {
  interface Window {
    /** Written by the build: which prompts there are … */
    tlFrozenIndex?: unknown;
    /** … and by each loaded file, under its name. */
    tlFrozen?: Record<string, unknown>;
  }
}

interface Loaded {
  readonly questions: readonly Question[];
  readonly answers: ReadonlyMap<string, unknown>;
}

const FILE = record({ version: number, model: text, prompt: text, questions: list(text), answers: list(() => null) });
const ENTRY = record({ model: text, prompt: text, name: text });

export class FrozenSource implements Source {
  readonly kind = "frozen";
  #entries: readonly FrozenEntry[] = [];
  readonly #loaded = new Map<string, Loaded>();

  /** @param load adds a script to the page by its name in the folder of frozen files. */
  constructor(private readonly load: (file: string) => Promise<void>) {}

  get entries(): readonly FrozenEntry[] {
    return this.#entries;
  }

  /** Learn which prompts there are; without that there are none, and the Lab says so. */
  async start(): Promise<void> {
    if (window.tlFrozenIndex === undefined) await this.load("index.js").catch(() => undefined);
    const raw = window.tlFrozenIndex;
    this.#entries = Array.isArray(raw) ? raw.filter((entry): entry is FrozenEntry => ENTRY(entry, "entry") === null) : [];
  }

  can(question: Question): boolean {
    const entry = this.#entryOf(question);
    if (!entry) return false;
    const loaded = this.#loaded.get(entry.name);
    return loaded ? loaded.answers.has(canonical(question)) : question.ask === "open";
  }

  /** What this prompt's file answers, as far as it is loaded. */
  questions(model: string, prompt: string): readonly Question[] {
    const entry = this.#entryOf({ model, prompt });
    return (entry && this.#loaded.get(entry.name)?.questions) ?? [];
  }

  async ask<Q extends Question>(question: Q, signal: AbortSignal): Promise<Answers[Q["ask"]]> {
    const entry = this.#entryOf(question);
    if (!entry) throw notHere();
    const { answers } = await this.#file(entry);
    signal.throwIfAborted();
    const key = canonical(question);
    if (!answers.has(key)) throw notHere();
    return checked(question, answers.get(key));
  }

  #entryOf({ model, prompt }: { readonly model: string; readonly prompt: string }): FrozenEntry | undefined {
    return this.#entries.find((entry) => entry.model === model && entry.prompt === prompt);
  }

  async #file(entry: FrozenEntry): Promise<Loaded> {
    const known = this.#loaded.get(entry.name);
    if (known) return known;
    if (window.tlFrozen?.[entry.name] === undefined) {
      await this.load(`${entry.name}.js`).catch(() => {
        throw new LabRefusal({ message: "The stored answers for this prompt did not load. Reload the page, or choose another prompt.", code: "frozen-missing" });
      });
    }
    const loaded = parsed(window.tlFrozen?.[entry.name]);
    this.#loaded.set(entry.name, loaded);
    return loaded;
  }
}

/** A question that cannot be read is left out: its answer would never be found anyway. */
function parsed(raw: unknown): Loaded {
  const problem = FILE(raw, "file");
  const file = raw as FrozenFile;
  if (problem !== null || file.version !== 1 || file.questions.length !== file.answers.length) {
    throw new LabRefusal({ message: "The stored answers for this prompt are damaged. Choose another prompt, or build the book again.", code: "frozen-damaged" });
  }
  const questions: Question[] = [];
  const answers = new Map<string, unknown>();
  file.questions.forEach((spelled, index) => {
    const question = read(spelled);
    if (!question) return;
    questions.push(question);
    answers.set(canonical(question), file.answers[index]);
  });
  return { questions, answers };
}

function read(spelled: string): Question | null {
  try {
    const question: unknown = JSON.parse(spelled);
    return isObject(question) && typeof question["ask"] === "string" ? (question as unknown as Question) : null;
  } catch {
    return null;
  }
}

function notHere(): LabRefusal {
  return new LabRefusal({ message: "This was not computed when the book was built, so it needs a kernel.", code: "needs-kernel" });
}
