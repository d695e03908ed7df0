// Owns the guides of the first ablation, the first patch and the first push, as scripts. Numbers come from the reader's own run.

import { percent, plain } from "./drawing/words";
import { percentOfWay } from "./modes/forecasts";
import { headName } from "./modes/part_names";
import { nats, quoted } from "./modes/sentences";
import { damageWord } from "./modes/steer_result";
import { strongestCells } from "./modes/strongest";
import { answerIn, type Guide, type Help } from "./tour";
import { ablatedHeads, cellName, cellText, isRun, offText, strongestHead, topPercent, topToken, weakestHead } from "./tour_facts";

const CAPITAL = "The capital of France is";
const RUN: Help = { kind: "press", at: "[data-tour=skip], [data-tour=run]" };
const ITALY = "The capital of Italy is";

export const firstAblation: Guide = {
  name: "first-ablation",
  title: "First ablation",
  about: "Turn one head off and see whether the answer needs it.",
  minutes: 6,
  prompts: [CAPITAL],
  steps: [
    { kind: "see", title: "The question", at: ".lab-prediction", words: (now) => [`The model reads “${CAPITAL}” and expects ${topToken(now)}, with ${topPercent(now)}.`, "Many parts worked on this. Does the answer hang on any single one? To find out, one takes a part out and looks again: an [[ablation]]."] },
    { kind: "do", title: "Go to Ablate", at: ".lab-tab[data-mode=ablate]", words: () => ["Choose the tab Ablate. The picture stays; below it there is now what one needs to turn parts off."], until: (now) => now.mode === "ablate", help: { kind: "mode", mode: "ablate" } },
    { kind: "do", title: "Measure every head", at: "[data-tour=map-run]", words: () => ["Press “Measure all … heads”. Each [[attention head]] is turned off by itself, and the map says what the answer's [[logit]] does then."], until: (now) => isRun(now, "head_map"), help: { kind: "press", at: "[data-tour=map-run]" } },
    { kind: "see", title: "The map", at: "[data-tour=head-map]", words: (now) => [`The head whose absence hurts the answer most is ${cellText(strongestHead(now))}; the one that matters least is ${cellText(weakestHead(now))}.`, "Minus: the answer loses when the head is off. Plus: it gains, so the head spoke against it."] },
    { kind: "do", title: "Choose the strongest head", at: "[data-tour=head-map]", words: (now) => [`Click the cell of ${cellName(strongestHead(now))}, or its name in the list beside the map.`], until: (now) => now.selection.parts.includes(cellName(strongestHead(now))), help: { kind: "parts", of: (now) => [cellName(strongestHead(now))] } },
    { kind: "predict", title: "Say what you expect", at: ".lab-predict", words: (now) => [`A logit is not a [[probability]]. ${topToken(now)} has ${topPercent(now)} now: how far will it move without ${cellName(strongestHead(now))}?`, "Choose a place on the scale, then press “Turn off and compare”."], until: (now) => offText(now, cellName(strongestHead(now))) !== null, help: RUN },
    { kind: "see", title: "What came", at: ".lab-outcome", words: (now) => [`Without ${cellName(strongestHead(now))}: ${offText(now, cellName(strongestHead(now))) ?? "not run yet"}.`, "Below it stand controls: random other heads off. Only if they do much less has this head something to do with it."] },
    { kind: "do", title: "Now one that should not matter", at: ".lab-predict", words: (now) => [`Choose ${cellName(weakestHead(now))}, predict, and run it too: a result needs something to stand against.`], until: (now) => ablatedHeads(now).includes(cellName(weakestHead(now))) || ablatedHeads(now).length > 1, help: { kind: "all", of: [{ kind: "parts", of: (now) => [cellName(weakestHead(now))] }, RUN] } },
    { kind: "means", title: "What it means", words: (now) => [`The answer depends on ${cellName(strongestHead(now))}: with everything else as it was, taking it out changes the prediction.`, "It does not mean that the head holds the answer. It may carry, enhance, or merely not disturb what others hold; and a head without effect may have a stand-in, a [[backup head]]."] },
    { kind: "next", title: "What to try next", words: () => ["Turn the same head off with “mean”: what it always says stays then, and only what it says here goes. Is the effect as large?", "Turn off a whole MLP, such as L0.mlp. Or change the prompt to another country: is it the same head?"] },
  ],
};

function strongestPlace(now: Parameters<typeof isRun>[0], over: "resid_pre" | "head"): { readonly name: string; readonly share: string } {
  const map = answerIn(now, "patch_map", (question) => question.over === over);
  const cell = map && strongestCells(map.recovered, 1)[0];
  if (!map || !cell) return { name: "not measured", share: "–" };
  return { name: over === "head" ? headName(cell.row, cell.column) : `layer ${cell.row} at ${quoted(map.tokens[cell.column] ?? "")}`, share: percentOfWay(cell.value) };
}

/** The last layer before which more than half of the difference still stands at the place where the prompts differ. */
function handedOver(now: Parameters<typeof isRun>[0]): string {
  const map = answerIn(now, "patch_map", (question) => question.over === "resid_pre");
  if (!map) return "not measured";
  const differs = map.tokens.findIndex((token, at) => token !== map.corrupted_tokens[at]);
  const last = map.recovered.findLastIndex((row) => (row[differs] ?? 0) > 0.5);
  return last < 0 ? "nowhere" : `up to layer ${last}`;
}

export const firstPatch: Guide = {
  name: "first-patch",
  title: "First patch",
  about: "Carry a piece of one run into another and see which piece brings the answer along.",
  minutes: 7,
  prompts: [CAPITAL],
  steps: [
    { kind: "see", title: "The question", at: ".lab-prediction", words: (now) => [`After “${CAPITAL}” the model expects ${topToken(now)}. With “Italy” in the place of “France” it would expect another city.`, "Where inside does that one word make the difference? [[activation patching|Patching]] answers it: run both, then put one piece of the [[clean run]] into the [[corrupted run|corrupted one]]."] },
    { kind: "do", title: "Go to Patch", at: ".lab-tab[data-mode=patch]", words: () => ["Choose the tab Patch."], until: (now) => now.mode === "patch", help: { kind: "mode", mode: "patch" } },
    { kind: "do", title: "Write the corrupted prompt", at: "[data-tour=corrupted]", words: () => [`Type “${ITALY}” as the corrupted prompt, if it does not stand there already. Below, both stand token by token: they must be equally long, so that each place has its counterpart.`], help: { kind: "type", at: "[data-tour=corrupted]", text: ITALY } },
    { kind: "predict", title: "Say what you expect", at: "[data-tour=pair]", words: () => ["Think before you measure: at which token does the difference sit in the first layers? And at which one must it have arrived in the last, so that the next word can be said?"] },
    { kind: "do", title: "Measure every place", at: "[data-tour=map-run]", words: () => ["Press “Measure … places”. For each layer and position, the [[residual stream]] of the clean run is put into the corrupted run, at this one place."], until: (now) => answerIn(now, "patch_map", ({ over }) => over === "resid_pre") !== null, help: { kind: "press", at: "[data-tour=map-run]" } },
    { kind: "see", title: "The way of the difference", at: "[data-tour=patch-map]", words: (now) => [`100% means: this one place brings the clean answer back. The strongest is ${strongestPlace(now, "resid_pre").name}, with ${strongestPlace(now, "resid_pre").share}.`, `At the changed word itself more than half comes back ${handedOver(now)}; after that the difference has moved on, and at the last token it arrives.`] },
    { kind: "do", title: "Who carries it?", at: "[data-tour=options-patch-over]", words: () => ["Something carried it from one position to another, and only attention can do that. Choose “heads” under “Patch over”, and measure them all."], until: (now) => answerIn(now, "patch_map", ({ over }) => over === "head") !== null, help: { kind: "press", at: "[data-tour=options-patch-over] input[value=head], [data-tour=map-run]" } },
    { kind: "see", title: "The head", at: "[data-tour=patch-map]", words: (now) => [`Alone it is above all ${strongestPlace(now, "head").name}: its output from the clean run brings back ${strongestPlace(now, "head").share}.`, "Click its cell to see the three runs side by side."] },
    { kind: "means", title: "What it means", words: () => ["An ablation asks what the answer needs. A patch asks what is enough to bring it, given the rest of the other run.", "It shows where the difference is carried, not how it is computed; and what several parts carry together, no single patch shows."] },
    { kind: "next", title: "What to try next", words: () => ["Turn the head that you found off in Ablate: does the answer need what is enough to bring it?", "Change another word than the country. Where does that difference travel?"] },
  ],
};

export const firstSteer: Guide = {
  name: "first-steer",
  title: "First steering",
  about: "Add a direction to the stream and watch the text change, and what that costs.",
  minutes: 6,
  prompts: [CAPITAL],
  steps: [
    { kind: "see", title: "The question", at: ".lab-prediction", words: (now) => [`The model expects ${topToken(now)} here. Can one change what it says without touching a single weight?`, "If a direction in the [[residual stream]] stands for something, adding it should make the text more like that: [[steering vector|steering]]."] },
    { kind: "do", title: "Go to Steer", at: ".lab-tab[data-mode=steer]", words: () => ["Choose the tab Steer."], until: (now) => now.mode === "steer", help: { kind: "mode", mode: "steer" } },
    { kind: "see", title: "Where the direction comes from", at: "[data-tour=toward]", words: () => ["Two texts that differ in one thing. The model reads both, and the stream at the end of the second is taken from that of the first: what is left is the direction. Between two single tokens it is the direction in which their answers differ."] },
    { kind: "predict", title: "Say what you expect, and push", at: ".lab-predict", words: (now) => [`Leave layer and strength as they are. What will become of ${topToken(now)}, and of the text?`], until: (now) => isRun(now, "steer"), help: RUN },
    {
      kind: "see", title: "What came", at: "[data-tour=texts]",
      words: (now) => {
        const answer = answerIn(now, "steer");
        if (!answer) return ["Nothing has been run yet."];
        return [`At strength ${plain(answer.coef, 1)} the push is ${percent(answer.push_norm / answer.stream_norm)} as long as the stream itself, and ${quoted(answer.token)} goes from ${percent(answer.clean_p)} to ${percent(answer.patched_p)}.`, "Read both texts. Is the second one about what you pushed toward?"];
      },
    },
    {
      kind: "see", title: "What it costs", at: "[data-tour=damage]",
      words: (now) => {
        const answer = answerIn(now, "steer");
        if (!answer || answer.steered_loss_nats === null || answer.clean_loss_nats === null) return ["The cost is not known."];
        const random = answer.random_kl_nats;
        return [`To the unchanged model the steered text is a surprise of ${nats(answer.steered_loss_nats)} a token, its own text one of ${nats(answer.clean_loss_nats)}: ${damageWord(answer.steered_loss_nats - answer.clean_loss_nats)}.`, `And the control: random directions of the same length move the prediction by ${nats(Math.min(...random))} to ${nats(Math.max(...random))}, this one by ${nats(answer.kl_nats)}.`];
      },
    },
    { kind: "do", title: "Another strength", at: "[data-tour=coef]", words: () => ["Move the slider to a strength of half as much, or take another of the stored ones, and run again. Then a table at the end holds both."], until: (now) => now.history.filter(({ question }) => question.ask === "steer").length > 1, help: { kind: "all", of: [{ kind: "type", at: "[data-tour=coef]", text: "1" }, { kind: "press", at: "[data-tour=stored-strengths] button:nth-child(2)" }, RUN] } },
    { kind: "means", title: "What it means", words: () => ["A dose too small does nothing; one too large takes the model apart, in any direction. In between there may be a range where the text changes and still makes sense.", "A text that sounds as wished is no proof that the direction means it: the random pushes are there for that doubt."] },
    { kind: "next", title: "What to try next", words: () => ["Push from “a token” instead: the direction that makes one word likelier.", "Turn the strength below zero. Push at an early layer, then at a late one. Where does it cost least?"] },
  ],
};
