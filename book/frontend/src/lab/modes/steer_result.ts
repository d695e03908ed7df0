// Owns the picture of one push: the two texts, what the push did to the prediction, what it cost, and random pushes beside it.

import { el } from "../../dom";
import type { Entry } from "../app_contract";
import type { Question, SteerAnswer } from "../contract";
import { runBadge } from "../drawing/pictures";
import { percent, plain } from "../drawing/words";
import { beforeAfter } from "./before_after";
import { nats } from "./sentences";

type Steering = Extract<Question, { ask: "steer" }>;

export function steerResult(answer: SteerAnswer): HTMLElement {
  const strength = `pushed by ${plain(answer.coef, 1)} after L${answer.layer}`;
  return el("div", { class: "lab-steered" }, texts(answer), beforeAfter(answer, { before: "clean run", after: `patched run: ${strength}` }), cost(answer), controls(answer));
}

/** Both continuations, side by side; also while they are being written. */
export function texts(answer: Pick<SteerAnswer, "clean_text" | "steered_text">): HTMLElement {
  const card = (badge: HTMLElement, text: string): HTMLElement => el("div", { class: "lab-text-card" }, badge, el("blockquote", {}, text === "" ? "…" : text));
  return el("div", { class: "lab-texts", "data-tour": "texts" }, card(runBadge("clean", "as it goes on by itself"), answer.clean_text), card(runBadge("patched", "under the push"), answer.steered_text));
}

/** What the push costs in words: how much more surprising the steered text is to the unchanged model. */
export function damageWord(more_nats: number): string {
  if (more_nats < 0.3) return "no damage to speak of";
  if (more_nats < 1.5) return "some damage: the model itself would rarely write so";
  return more_nats < 3 ? "much damage: the model itself would hardly ever write so" : "very much damage: texts like this have mostly fallen apart";
}

function cost(answer: SteerAnswer): HTMLElement {
  const { clean_loss_nats: own, steered_loss_nats: steered } = answer;
  const most = Math.max(own ?? 0, steered ?? 0, 1e-9);
  const row = (badge: HTMLElement, loss: number | null, side: string): HTMLElement => {
    const bar = el("span", { class: "lab-cell-bar", "data-side": side, "aria-hidden": "true" });
    bar.style.setProperty("--p", String(Math.max(0, loss ?? 0) / most));
    return el("div", { class: "lab-cost-row" }, badge, bar, el("span", { class: "lab-number" }, nats(loss)));
  };
  const share = answer.stream_norm > 0 ? answer.push_norm / answer.stream_norm : 0;
  return el(
    "div",
    { class: "lab-cost", "data-tour": "damage" },
    el("h5", {}, "What it costs: surprise of the unchanged model, a token"),
    row(runBadge("clean", "own text"), own, "before"),
    row(runBadge("patched", "steered text"), steered, "after"),
    el("p", {}, `${own === null || steered === null ? "The cost is not known" : capital(damageWord(steered - own))}. The push is ${plain(answer.push_norm, 0)} long, ${percent(share)} of the stream there.`),
  );
}

function controls(answer: SteerAnswer): HTMLElement {
  const { kl_nats, random_kl_nats: random } = answer;
  if (random.length === 0) return el("p", { class: "lab-soft" }, "No random directions were tried.");
  const [lowest, highest] = [Math.min(...random), Math.max(...random)];
  const words = kl_nats > highest ? "more than" : kl_nats < lowest ? "less than" : "no more than";
  return el(
    "div",
    { class: "lab-controls" },
    el("h5", {}, "Beside controls"),
    el("p", {}, `This push moves the prediction by ${nats(kl_nats)}, ${words} ${random.length} random directions of the same length (${nats(lowest)} to ${nats(highest)}).`),
  );
}

/** Other strengths of the same push, from the history: the beginning of a dose curve. */
export function doses(history: readonly Entry[], question: Steering): HTMLElement {
  const rows = new Map<number, SteerAnswer>();
  for (const entry of history) {
    if (entry.answer && isSameBut(entry.question, question)) rows.set((entry.question as Steering).coef, entry.answer as SteerAnswer);
  }
  if (rows.size < 2) return el("p", { class: "lab-soft" }, "Run it with another strength too: the strengths then stand side by side here.");
  const sorted = [...rows].sort(([a], [b]) => a - b);
  const head = el("tr", {}, ...["Strength", "Probability", "KL", "Surprise of its text"].map((words) => el("th", { scope: "col" }, words)));
  const body = sorted.map(([coef, answer]) =>
    el("tr", coef === question.coef ? { "data-changed": true } : {}, el("th", { scope: "row" }, plain(coef, 1)), ...[percent(answer.patched_p), nats(answer.kl_nats), nats(answer.steered_loss_nats)].map((words) => el("td", {}, words))),
  );
  return el("table", { class: "lab-numbers" }, el("caption", {}, "Strengths tried so far"), el("thead", {}, head), el("tbody", {}, ...body));
}

function isSameBut(question: Question, other: Steering): boolean {
  if (question.ask !== "steer") return false;
  return question.prompt === other.prompt && question.model === other.model && question.toward === other.toward && question.away === other.away && question.layer === other.layer;
}

function capital(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1);
}
