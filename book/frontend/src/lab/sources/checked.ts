// Owns that an answer of the wrong shape becomes a sentence instead of a picture of nonsense.

import { LabRefusal } from "../app_contract";
import type { Answers, Question } from "../contract";
import { SHAPES } from "./answer_shapes";

/** The answer, now known to have the shape that its question calls for. */
export function checked<Q extends Question>(question: Q, raw: unknown): Answers[Q["ask"]] {
  const problem = SHAPES[question.ask](raw, question.ask);
  if (problem === null) return raw as Answers[Q["ask"]];
  const message = `This answer cannot be shown, since it is not what the page expects (${problem}). Reload the page; if it stays so, page and library are of different versions.`;
  throw new LabRefusal({ message, code: "unexpected-answer" });
}
