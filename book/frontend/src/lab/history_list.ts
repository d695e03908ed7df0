// Owns what can be done with the experiments that were made: renaming, removing, going back to one, replaying, comparing two.

import type { AnyAnswer, Entry, LabHost } from "./app_contract";
import type { BeforeAfter, Mode, Question } from "./contract";
import { canonical } from "./sources/canonical";

const LONGEST_NAME = 80;

const MODE_OF: Readonly<Partial<Record<Question["ask"], Mode>>> = {
  ablate: "ablate", head_map: "ablate", patch: "patch", patch_map: "patch", steer: "steer", compare: "compare", lens: "lens", heads: "heads",
};

export function modeOf(question: Question): Mode {
  return MODE_OF[question.ask] ?? "look";
}

/** The name as it is kept: one line, not too long; an empty one changes nothing. */
export function cleanName(name: string, otherwise: string): string {
  const line = name.replace(/\s+/g, " ").trim().slice(0, LONGEST_NAME);
  return line === "" ? otherwise : line;
}

export function renamed(history: readonly Entry[], entry: Entry, name: string): readonly Entry[] {
  return history.map((each) => (each === entry ? { ...each, name: cleanName(name, each.name) } : each));
}

export function removed(history: readonly Entry[], entry: Entry): readonly Entry[] {
  return history.filter((each) => each !== entry);
}

/** Show an experiment again, with its prompt and its mode; one that came by a link is run first. */
export async function returnTo(lab: LabHost, entry: Entry): Promise<void> {
  const { question } = entry;
  const run = { model: question.model, prompt: question.prompt };
  const now = lab.store.now.baseline;
  if (now?.model !== run.model || now.prompt !== run.prompt) {
    await lab.open(run.model, run.prompt);
    const opened = lab.store.now.baseline;
    if (opened?.model !== run.model || opened.prompt !== run.prompt) return;
  }
  lab.cancel();
  lab.setMode(modeOf(question));
  lab.select({ parts: question.ask === "ablate" ? question.parts : question.ask === "patch" ? [question.part] : [] });
  if (entry.answer === null) return fill(lab, entry);
  if (question.ask === "head_map" || question.ask === "patch_map") return;
  const by = lab.whoCan(question) ?? "live";
  lab.store.update({ experiment: { kind: "done", question, predicted: entry.predicted, answer: entry.answer, by, took_ms: 0 } });
}

/** Run what has no answer yet; its answer takes the entry's place, with the reader's name. */
async function fill(lab: LabHost, entry: Entry): Promise<void> {
  await lab.run(entry.question, entry.predicted);
  const { history } = lab.store.now;
  const last = history.at(-1);
  if (!last || last === entry || canonical(last.question) !== canonical(entry.question)) return;
  lab.store.update({ history: history.slice(0, -1).map((each) => (each === entry ? { ...last, name: entry.name } : each)) });
}

export type Replay =
  | { readonly kind: "same" }
  | { readonly kind: "rounding"; readonly most: number }
  | { readonly kind: "other"; readonly most: number; readonly at: string }
  | { readonly kind: "form"; readonly at: string };

/** Differences of single-precision sums on another machine stay below this share. */
const ROUNDING = 2e-3;

/** Whether two answers to one question say the same; texts must be equal, numbers up to rounding. */
export function compareAnswers(kept: unknown, anew: unknown): Replay {
  const found: { most: number; at: string; form: string } = { most: 0, at: "", form: "" };
  walk(kept, anew, "answer", found);
  if (found.form !== "") return { kind: "form", at: found.form };
  if (found.most === 0) return { kind: "same" };
  return found.most <= ROUNDING ? { kind: "rounding", most: found.most } : { kind: "other", most: found.most, at: found.at };
}

function walk(a: unknown, b: unknown, path: string, found: { most: number; at: string; form: string }): void {
  if (found.form !== "") return;
  if (typeof a === "number" && typeof b === "number") {
    const far = Math.abs(a - b) / Math.max(1, Math.abs(a), Math.abs(b));
    if (far > found.most) Object.assign(found, { most: far, at: path });
    return;
  }
  const isBoth = typeof a === "object" && typeof b === "object" && a !== null && b !== null;
  // Sentences hold rounded numbers: they are compared by the numbers themselves.
  if (!isBoth) return void (a !== b && !/\.(explain|caveats)/.test(path) && (found.form = path));
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  for (const name of names) walk((a as Record<string, unknown>)[name], (b as Record<string, unknown>)[name], `${path}.${name}`, found);
}

export function replayWords(replay: Replay): string {
  switch (replay.kind) {
    case "same":
      return "Replayed: every number is the same.";
    case "rounding":
      return `Replayed: the same up to rounding (largest difference ${replay.most.toExponential(1)}).`;
    case "other":
      return `Replayed: it differs, most at ${replay.at} (by ${replay.most.toExponential(1)}). Another model, version or seed?`;
    case "form":
      return `Replayed: it differs at ${replay.at}. Another model, version or seed?`;
  }
}

export function isBeforeAfter(answer: AnyAnswer | null): answer is AnyAnswer & BeforeAfter {
  return answer !== null && "patched_p" in answer && "clean_p" in answer;
}
