// Owns the choice of depth: how much of what is folded stands open. Nothing is ever hidden for good.

import { el } from "../dom";
import { DEPTHS, type Depth, type Settings } from "./settings";

const WORDS: Record<Depth, string> = { main: "Main text", closer: "Look closer", research: "Research notes" };
const CLOSER = "details.tl-depth-closer, .tag_closer details.hide";
const RESEARCH = "details.tl-depth-research";

/** A switch for this page's folds, or `null` where there is nothing to unfold. */
export function depthSwitch(settings: Settings, signal: AbortSignal): HTMLElement | null {
  if (!document.querySelector(`${CLOSER}, ${RESEARCH}`)) return null;
  const choices = DEPTHS.map((depth) => {
    const input = el("input", { type: "radio", name: "tl-depth", value: depth });
    input.checked = depth === settings.now.depth;
    input.addEventListener(
      "change",
      () => {
        settings.change({ depth });
        unfold(depth);
      },
      { signal },
    );
    return el("label", {}, input, el("span", {}, WORDS[depth]));
  });
  if (settings.now.depth !== "main") unfold(settings.now.depth);
  return el("fieldset", { class: "tl-depth-switch" }, el("legend", {}, "Depth"), ...choices);
}

/** Each depth holds the ones before it. */
export function unfold(depth: Depth): void {
  for (const fold of document.querySelectorAll<HTMLDetailsElement>(CLOSER)) fold.open = depth !== "main";
  for (const fold of document.querySelectorAll<HTMLDetailsElement>(RESEARCH)) fold.open = depth === "research";
}
