// Owns the tour of the Lab and the guides of the first comparison, the first lens and the first induction head, as scripts.

import type { LabNow } from "./app_contract";
import { percent, plain } from "./drawing/words";
import { headName } from "./modes/part_names";
import { klWord, nats, quoted, type Direction } from "./modes/sentences";
import { settledText } from "./modes/lens";
import { strongestCells } from "./modes/strongest";
import { answerIn, type Guide, type Help } from "./tour";
import { ablatedHeads, cellName, inductionHeads, isRun, offText, offWay, topPercent, topToken } from "./tour_facts";

const CAPITAL = "The capital of France is";
const RUN: Help = { kind: "press", at: "[data-tour=skip], [data-tour=run]" };
/** Nothing but the repetition tells the next word: here single induction heads can be missed. */
const WORDS = "alpha tango kilo zulu alpha tango kilo";
const CAT = "The cat sat on the mat. The cat sat on the";

/** What a changed probability says about the head that is off. */
const READINGS: Readonly<Record<Direction, string>> = {
  down: "It fell, so the answer leans on this head. It did not fall to nothing? Then others do the same work: look at how many stand in the list.",
  same: "It stayed, so others do the same work, or the answer comes another way: look at how many heads stand in the list.",
  up: "It rose! On this prompt the head speaks for something else, and its score alone would not have told. That is why one measures.",
};

export const labTour: Guide = {
  name: "lab-tour",
  title: "Tour of the Lab",
  about: "What is where, in three minutes.",
  minutes: 3,
  prompts: [],
  steps: [
    { kind: "see", title: "Model and prompt", at: ".lab-form", words: () => ["Here you choose the model and type what it reads. Enter opens it. The examples below have stored answers: they work without a kernel."] },
    { kind: "see", title: "Tokens", at: ".lab-tokens", words: (now) => [`The model reads [[token|tokens]], here ${now.baseline?.answer.tokens.length ?? 0} of them. Choose one, with a click or the arrow keys: everything that speaks of a position then speaks of this one.`] },
    { kind: "see", title: "The prediction", at: ".lab-prediction", words: (now) => [`After each token the model has an opinion about the next. After the last one it expects ${topToken(now)}, with ${topPercent(now)}.`] },
    { kind: "see", title: "The pipeline", at: ".lab-stage", words: (now) => [`The whole model from left to right: ${now.baseline?.answer.facts.n_layers ?? 0} blocks, each with ${now.baseline?.answer.facts.n_heads ?? 0} heads and an [[MLP]], all writing into one [[residual stream]]. Click a part, or walk with the arrow keys and press Enter: its inside opens below.`] },
    { kind: "see", title: "Experiments", at: ".lab-tabs", words: () => ["Look is for reading. The other tabs change something or ask for more; each has its own colour and name: Ablate, Patch, Steer, Compare, Lens and Heads."] },
    { kind: "do", title: "Open one", at: ".lab-tab[data-mode=ablate]", words: () => ["Choose Ablate, to see how they all are made."], until: (now) => now.mode === "ablate", help: { kind: "mode", mode: "ablate" } },
    { kind: "see", title: "Choose, predict, compare", at: ".lab-mode-place", words: () => ["First you choose what to change. Then you say what you expect; it can be skipped, but one remembers better what one has guessed at. Then the prediction before and after stand side by side, with controls, what it means in words, and what to be careful about."] },
    { kind: "see", title: "What must hold", at: ".lab-identities", words: () => ["Checks of these very numbers: rows of attention sum to one, the parts sum to the logit, a run patched with itself changes nothing. If one fails, distrust the picture."] },
    { kind: "see", title: "Nothing is lost", at: "[data-tour=history]", words: () => ["Every experiment is kept here with your prediction. You can name it, go back, run it again and compare two; at the top there are Undo, a link to all of it, and Export."] },
    { kind: "next", title: "What to try next", words: () => ["The six guided experiments, in the same menu as this tour. Begin with the first ablation: it takes six minutes."] },
  ],
};

function comparison(now: LabNow): { readonly first: string; readonly second: string; readonly kl: string; readonly head: string; readonly where: string } {
  const answer = answerIn(now, "compare");
  if (!answer) return { first: "–", second: "–", kl: "–", head: "–", where: "–" };
  const say = (guess: { readonly token: string; readonly p: number } | undefined): string => (guess ? `${quoted(guess.token)} (${percent(guess.p)})` : "–");
  const head = strongestCells(answer.pattern, 1)[0];
  const place = strongestCells(answer.stream, 1)[0];
  const pair = place && answer.pairs[place.column];
  const where = place && pair ? `at ${quoted(answer.a.tokens[pair[0]]?.text ?? "")} and ${quoted(answer.b.tokens[pair[1]]?.text ?? "")}, ${place.row === 0 ? "after the embedding" : `after layer ${place.row - 1}`} (${plain(place.value)})` : "–";
  return { first: say(answer.a.next.at(-1)?.[0]), second: say(answer.b.next.at(-1)?.[0]), kl: `${nats(answer.kl_nats)}, ${klWord(answer.kl_nats)}`, head: head ? headName(head.row, head.column) : "–", where };
}

export const firstComparison: Guide = {
  name: "first-comparison",
  title: "First comparison",
  about: "Run the same model on two prompts and find where they part.",
  minutes: 5,
  prompts: [CAPITAL],
  steps: [
    { kind: "see", title: "The question", at: ".lab-prediction", words: (now) => [`One word changes the answer ${topToken(now)} into another. Where in the model do the two runs part, and how far?`] },
    { kind: "do", title: "Go to Compare", at: ".lab-tab[data-mode=compare]", words: () => ["Choose the tab Compare."], until: (now) => now.mode === "compare", help: { kind: "mode", mode: "compare" } },
    { kind: "do", title: "Write the second prompt", at: "[data-tour=other]", words: () => ["Type “The capital of Italy is” as second prompt, and go on to the prediction."], help: { kind: "type", at: "[data-tour=other]", text: "The capital of Italy is" } },
    { kind: "predict", title: "Say what you expect, and run", at: ".lab-predict", words: () => ["How far apart will the two predictions be? The measure is the [[KL divergence]]: 0 means the same."], until: (now) => isRun(now, "compare"), help: RUN },
    { kind: "see", title: "What came", at: ".lab-outcome", words: (now) => [`The first run says ${comparison(now).first}, the second ${comparison(now).second}. The predictions lie ${comparison(now).kl} apart.`] },
    { kind: "see", title: "Where they part", at: "[data-tour=views]", words: (now) => [`The streams lie furthest apart ${comparison(now).where}. Before the changed word both are exactly the same: the model reads from left to right and cannot know yet.`, `The head whose [[attention pattern]] differs most is ${comparison(now).head}.`] },
    { kind: "means", title: "What it means", words: () => ["A distance says that something differs. It does not say that the difference matters for the answer: for that, one has to carry it over and see, which is patching."] },
    { kind: "next", title: "What to try next", words: () => ["Compare with a prompt that means the same in other words. Do the streams come together again?", "Take the position where the runs part into Patch, and see what it carries."] },
  ],
};

export const firstLogitLens: Guide = {
  name: "first-logit-lens",
  title: "First logit lens",
  about: "Read what each layer would answer, and when the model settles.",
  minutes: 5,
  prompts: [CAPITAL],
  steps: [
    { kind: "see", title: "The question", at: ".lab-prediction", words: (now) => [`At the end the model says ${topToken(now)}. When did it know?`, "The [[logit lens]] takes the [[residual stream]] after each layer and reads it as if it were the last."] },
    { kind: "do", title: "Go to Lens", at: ".lab-tab[data-mode=lens]", words: () => ["Choose the tab Lens."], until: (now) => now.mode === "lens", help: { kind: "mode", mode: "lens" } },
    { kind: "predict", title: "Say what you expect, and read", at: ".lab-predict", words: (now) => [`From which layers on will ${topToken(now)} come first?`], until: (now) => isRun(now, "lens"), help: RUN },
    {
      kind: "see", title: "The way up", at: "[data-tour=curve]",
      words: (now) => {
        const answer = answerIn(now, "lens");
        if (!answer) return ["Nothing has been read yet."];
        const worst = Math.max(...answer.followed_rank);
        return [settledText(answer), `Its worst rank on the way is ${worst.toLocaleString("en-GB")}: for most of the way the lens reads something else altogether.`];
      },
    },
    { kind: "see", title: "The table of words", at: "[data-tour=lens-map]", words: () => ["One row a layer, one column a position; the stronger the colour, the surer. Walk through it with the arrow keys: each cell is said in words below. In the first row the model sees little but the token itself."] },
    { kind: "means", title: "What it means", words: () => ["The lens finds the answer where the stream already speaks the language of the output. Earlier layers may hold it in another form, which this lens cannot read: late in the lens is not late in the model.", "The [[tuned lens]] translates each layer first. It reads earlier, and may say what the model does not use."] },
    { kind: "next", title: "What to try next", words: () => ["Type a prompt that the model only has to copy, such as a repeated list. Does it settle earlier?", "Turn off a head that you know to matter, and read the lens again."] },
  ],
};

export const firstInductionHead: Guide = {
  name: "first-induction-head",
  title: "First induction head",
  about: "Find the heads that continue a repetition, and prove it by turning one off.",
  minutes: 6,
  prompts: [WORDS, CAT],
  steps: [
    { kind: "see", title: "The question", at: ".lab-prediction", words: (now) => [`“${now.baseline?.prompt ?? ""}”: the model expects ${topToken(now)}, with ${topPercent(now)}. All of it stood there before. Who looked back?`] },
    { kind: "do", title: "Go to Heads", at: ".lab-tab[data-mode=heads]", words: () => ["Choose the tab Heads."], until: (now) => now.mode === "heads", help: { kind: "mode", mode: "heads" } },
    { kind: "predict", title: "Say what you expect, and score them", at: ".lab-predict", words: () => ["An [[induction head]] looks at what came after the earlier occurrence of the same token. How many of them are there?"], until: (now) => isRun(now, "heads"), help: RUN },
    { kind: "see", title: "The list", at: "[data-tour=head-list]", words: (now) => [`The strongest are ${inductionHeads(now).map((cell) => `${cellName(cell)} (${plain(cell.value)})`).join(", ") || "not scored"}. The scores come from random tokens that are said twice: there is nothing in them to follow but the repetition.`] },
    { kind: "do", title: "Look at one", at: "[data-tour=head-list]", words: (now) => [`Choose ${cellName(inductionHeads(now)[0] ?? null)} in the list. Its picture opens in Look, with its [[attention pattern]] on this prompt.`], until: (now) => now.selection.parts.includes(cellName(inductionHeads(now)[0] ?? null)), help: { kind: "parts", of: (now) => [cellName(inductionHeads(now)[0] ?? null)] } },
    { kind: "do", title: "Take it to Ablate", at: ".lab-tab[data-mode=ablate]", words: () => ["A score says where a head looks, not whether anything depends on it. Choose the tab Ablate: the head stays chosen."], until: (now) => now.mode === "ablate", help: { kind: "mode", mode: "ablate" } },
    { kind: "predict", title: "Say what you expect, and turn it off", at: ".lab-predict", words: (now) => [`${topToken(now)} has ${topPercent(now)}. And without ${cellName(inductionHeads(now)[0] ?? null)}?`], until: (now) => ablatedHeads(now).length > 0, help: RUN },
    {
      kind: "see", title: "What came", at: ".lab-outcome",
      words: (now) => {
        const part = ablatedHeads(now).at(-1) ?? "";
        return [`Without ${part}: ${offText(now, part) ?? "not run yet"}.`, READINGS[offWay(now, part)]];
      },
    },
    { kind: "means", title: "What it means", words: () => ["A score says where a head looks; only the ablation says whether this answer depends on it, here, on this one prompt.", "Several heads share this skill. What is spread over many parts is missed, or only partly seen, by taking out one."] },
    { kind: "next", title: "What to try next", words: () => ["Add the next two heads of the list and turn all three off together.", "Find the [[previous-token head|previous-token heads]] in the same tab: induction heads build on them. What is lost without those?"] },
  ],
};
