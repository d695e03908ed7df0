// Owns reading a Lab's state from outside: a permalink, a placeholder, a kernel. What is damaged is left out.

import type { LabState, Mode, Question } from "./contract";
import { isObject } from "./sources/shapes";

export const MODE_NAMES: readonly Mode[] = ["look", "ablate", "patch", "steer", "compare", "lens", "heads"];

const MOST_LETTERS = 20_000;

export function parseState(raw: unknown): Partial<LabState> {
  if (!isObject(raw)) return {};
  const { model, prompt, mode, position, part, history } = raw;
  const known = MODE_NAMES.find((name) => name === mode);
  return {
    ...(isText(model) ? { model } : {}),
    ...(isText(prompt) ? { prompt } : {}),
    ...(known ? { mode: known } : {}),
    ...(typeof position === "number" && Number.isInteger(position) ? { position } : {}),
    ...(isText(part) ? { part } : {}),
    ...(Array.isArray(history) ? { history: history.flatMap(entryOf) } : {}),
  };
}

function entryOf(raw: unknown): LabState["history"][number][] {
  if (!isObject(raw) || !isText(raw["name"]) || typeof raw["predicted"] !== "string" || !isObject(raw["question"])) return [];
  const question = raw["question"];
  if (!isText(question["ask"]) || !isText(question["model"]) || !isText(question["prompt"])) return [];
  return [{ name: raw["name"], predicted: raw["predicted"], question: question as unknown as Question }];
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "" && value.length <= MOST_LETTERS;
}
