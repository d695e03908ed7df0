// Owns the experiments as a notebook: for each its prediction, its code, and what came here, so that a run can be compared.

import type { Entry } from "./app_contract";
import type { Question } from "./contract";
import { notebookOf, type Part } from "../cells/export";

/** The code of an experiment, or null where nobody could write it. */
export type CodeOf = (question: Question) => string | null;

export function experimentsNotebook(entries: readonly Entry[], codeOf: CodeOf): string {
  return notebookOf(entries.length === 0 ? [{ kind: "prose", text: "# Experiments from the Lab\n\nNone had been run yet." }] : parts(entries, codeOf));
}

function parts(entries: readonly Entry[], codeOf: CodeOf): Part[] {
  const first = entries[0]?.question;
  const head: Part[] = [
    { kind: "prose", text: `# Experiments from the Lab\n\n${entries.length === 1 ? "One experiment" : `${entries.length} experiments`}, in the order in which they were made. The cells need \`pip install tlab-book\`.` },
    { kind: "code", text: `import tlab\nimport tlab.lab\n\nmodel = tlab.load(${python(first?.model ?? "")})`, tags: [] },
  ];
  return [...head, ...entries.flatMap((entry, index) => experiment(entry, index, codeOf))];
}

function experiment(entry: Entry, index: number, codeOf: CodeOf): Part[] {
  const { question, predicted, answer } = entry;
  const said = predicted === "" ? "No prediction was made." : `Predicted before the run: **${inert(predicted)}**.`;
  const came = answer === null ? "It had not been run yet." : `What came in the Lab: ${inert(answer.explain)}`;
  return [
    { kind: "prose", text: `## ${index + 1}. ${inert(entry.name)}\n\nPrompt: ${quotedCode(question.prompt)}\n\n${said}\n\n${came}` },
    { kind: "code", text: codeOf(question) ?? askingCode(question), tags: [] },
  ];
}

/** Works for every experiment: the question itself, asked of the library. */
export function askingCode(question: Question): string {
  return `answer = tlab.lab.answer(tlab.load, ${python(question)})\nprint(answer["explain"])`;
}

/** A JSON value as Python writes it. */
export function python(value: unknown): string {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number") return Number.isFinite(value) ? String(value) : "None";
  if (typeof value === "string") return JSON.stringify(value).replace(/[\u007f-\u009f\u2028\u2029]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  return `{${Object.entries(value as object).map(([name, inner]) => `${python(name)}: ${python(inner)}`).join(", ")}}`;
}

/** Names, tokens and answers are foreign: as Markdown they must be letters and nothing else. */
function inert(text: string): string {
  const plain = text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  return plain.replace(/[\\`*_{}[\]()+!|$~]/g, "\\$&").replace(/\s+/g, " ");
}

function quotedCode(text: string): string {
  const line = text.replace(/\s+/g, " ");
  const longest = Math.max(0, ...[...line.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  const fence = "`".repeat(longest + 1);
  return `${fence} ${line} ${fence}`;
}
