// Owns how an experiment is called before the reader gives it a name. Pure.

import { unreachable } from "../dom";
import type { Part, Question } from "./contract";

export function nameOf(question: Question): string {
  switch (question.ask) {
    case "ablate":
      return `${parts(question.parts)} off (${question.method})`;
    case "patch":
      return `${question.part} patched${question.position === null ? "" : ` at position ${question.position}`}`;
    case "patch_map":
      return `Patch map of ${PLACES[question.over]}`;
    case "steer":
      return `Steered at L${question.layer}, strength ${question.coef}`;
    case "compare":
      return `Compared with “${bounded(question.other)}”`;
    case "head_map":
      return `Every head off (${question.method})`;
    case "lens":
      return question.kind === "logit" ? "Logit lens" : "Tuned lens";
    case "heads":
      return "Scores of all heads";
    case "part":
      return `${question.part} at position ${question.position}`;
    case "flow":
      return `Flow to position ${question.position}`;
    case "code":
      return `Code (${question.dialect})`;
    case "open":
      return `“${bounded(question.prompt)}”`;
    case "identities":
      return "Identities";
    default:
      return unreachable(question);
  }
}

const PLACES = { resid_pre: "the stream", attn_out: "attention", mlp_out: "MLPs", head: "heads" } as const;

function parts(names: readonly Part[]): string {
  return names.length <= 3 ? names.join(", ") : `${names.slice(0, 2).join(", ")} and ${names.length - 2} more`;
}

function bounded(text: string): string {
  return text.length > 32 ? `${text.slice(0, 31)}…` : text;
}
