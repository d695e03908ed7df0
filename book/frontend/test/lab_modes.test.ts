import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { LabRefusal, type AnyAnswer } from "../src/lab/app_contract";
import { decades } from "../src/lab/modes/curve";
import { headsAbove } from "../src/lab/modes/heads";
import { settledText } from "../src/lab/modes/lens";
import { MODES } from "../src/lab/modes/modes";
import { gentlest, reachOf } from "../src/lab/modes/steer";
import { damageWord } from "../src/lab/modes/steer_result";
import { strongestCells } from "../src/lab/modes/strongest";
import { answerTo, settle, stage, type Stage, type Staging } from "./lab_stage";

let leaving: AbortController;
let place: HTMLElement;

beforeEach(() => {
  leaving = new AbortController();
  place = document.createElement("div");
  document.body.replaceChildren(place);
  localStorage.clear();
  Object.assign(globalThis, { ResizeObserver: class { observe(): void {} disconnect(): void {} } });
});
afterEach(() => leaving.abort());

function enter(name: string, staging: Staging = {}): Stage {
  const lab = stage(staging);
  MODES.find((mode) => mode.name === name)?.mount(place, lab, leaving.signal);
  return lab;
}

const text = (selector: string): string => place.querySelector(selector)?.textContent ?? "";
const press = (words: string): void => [...place.querySelectorAll("button")].find((each) => each.textContent?.includes(words))?.click();

function type(tour: string, value: string): void {
  const field = place.querySelector<HTMLInputElement>(`[data-tour=${tour}]`);
  if (!field) throw new Error(`no field ${tour}`);
  field.value = value;
  for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind));
}

test("all six modes are there, each with its own name, title and hint", () => {
  expect(MODES.map(({ name }) => name)).toEqual(["ablate", "patch", "steer", "compare", "lens", "heads"]);
  for (const of of ["title", "hint"] as const) expect(new Set(MODES.map((mode) => mode[of])).size).toBe(6);
});

test.each(MODES.map(({ name }) => name))("%s: what fails is a sentence, and the mode stays usable", async (name) => {
  const lab = enter(name, { answer: () => Promise.reject(new LabRefusal({ message: "The model has no such part.", code: "x" })) });
  lab.select({ parts: ["L1H1"] });
  if (name === "compare") type("other", "Another one");
  if (name === "patch") type("corrupted", "The capital of Italy is");
  await settle();
  press("Skip and run");
  await settle();
  expect(text(".lab-outcome")).toMatch(/The model has no such part/);
  expect(place.querySelector<HTMLButtonElement>("[data-tour=skip]")?.disabled).toBe(false);
});

test.each(MODES.map(({ name }) => name))("%s: while it runs there is progress, and cancelling leaves nothing behind", async (name) => {
  const lab = enter(name, { answer: (_question, signal) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("stopped")))) });
  lab.select({ parts: ["L1H1"] });
  if (name === "compare") type("other", "Another one");
  if (name === "patch") type("corrupted", "The capital of Italy is");
  press("Skip and run");
  await settle();
  expect(place.querySelector(".lab-outcome progress")).not.toBeNull();
  press("Cancel");
  await settle();
  expect(lab.store.now.experiment.kind).toBe("none");
  expect(lab.store.now.history).toEqual([]);
});

test.each(MODES.map(({ name }) => name))("%s: without a kernel it says so and leads to one", (name) => {
  const lab = enter(name, { who: () => null, now: { connection: { kind: "frozen", canStart: true } } });
  lab.select({ parts: ["L1H1"] });
  if (name === "compare") type("other", "Another one");
  if (name === "patch") type("corrupted", "The capital of Italy is");
  expect(text(".lab-predict")).toMatch(/frozen/);
  press("Go live");
  expect(lab.seen.wentLive).toBe(1);
});

test.each(MODES.map(({ name }) => name))("%s: its words have definitions in the glossary", (name) => {
  enter(name);
  const glossary = readFileSync("../glossary.md", "utf8");
  const terms = [...place.querySelectorAll(".lab-terms a")].map((each) => each.textContent ?? "");
  expect(terms.length).toBeGreaterThan(1);
  for (const term of terms) expect(glossary, term).toMatch(new RegExp(`^${term}$`, "m"));
});

describe("steering", () => {
  test("the text is seen while it is written", async () => {
    const whole = answerTo({ ask: "steer", model: "toy", prompt: "a", toward: "b", away: "c", layer: 1, coef: 2 });
    let finish = (_answer: AnyAnswer): void => undefined;
    enter("steer", {
      answer: (_question, _signal, onPart) => {
        onPart({ ...whole, steered_text: " love", clean_loss_nats: null, steered_loss_nats: null } as never);
        return new Promise((resolve) => (finish = resolve));
      },
    });
    press("Skip and run");
    await settle();
    expect(text("[data-tour=texts]")).toMatch(/love/);
    finish(whole);
    await settle();
    expect(text("[data-tour=damage]")).toMatch(/2.900 nats/);
    expect(text(".lab-steered")).toMatch(/more than 3 random directions/);
  });

  test.each([["toward", "", /Type a text/], ["away", "I love this", /same/], ["coef", "0", /changes nothing/]])("%s as “%s” is a sentence", (field, value, says) => {
    enter("steer");
    type(field, value);
    expect(text(".lab-missing")).toMatch(says);
  });

  test("two strengths of one push stand side by side", async () => {
    enter("steer");
    press("Skip and run");
    await settle();
    expect(text(".lab-steered + p")).toMatch(/another strength/);
    type("coef", "4");
    press("Skip and run");
    await settle();
    expect(text(".lab-numbers caption")).toBe("Strengths tried so far");
    expect([...place.querySelectorAll(".lab-numbers tbody th")].map((cell) => cell.textContent)).toEqual(["1.0", "4.0"]);
  });

  test("the slider reaches every stored strength, and begins with the gentlest push forward", () => {
    const stored = [-40, -20, 20, 40].map((coef) => ({ ask: "steer", model: "toy", prompt: "The capital of France is", toward: " Rome", away: " Paris", layer: 2, coef }) as const);
    enter("steer", { stored });
    const slider = place.querySelector<HTMLInputElement>("[data-tour=coef]");
    expect([slider?.min, slider?.max, slider?.value]).toEqual(["-40", "40", "20"]);
    expect([...place.querySelectorAll("[data-tour=stored-strengths] button")].map((each) => each.textContent)).toEqual(["−40.0", "−20.0", "+20.0", "+40.0"]);
    expect(reachOf("sentences", [])).toEqual({ most: 8, step: 0.5 });
    expect(reachOf("token", [])).toEqual({ most: 80, step: 1 });
    expect(gentlest([])).toBeUndefined();
  });

  test("the cost has a word", () => {
    expect([0, 1, 2, 5].map(damageWord).map((words) => words.split(" ")[0])).toEqual(["no", "some", "much", "very"]);
  });
});

describe("comparing", () => {
  test("every view stands twice, with what differs", async () => {
    enter("compare");
    expect(text(".lab-missing")).toMatch(/Type a second prompt/);
    type("other", "The capital of France is");
    expect(text(".lab-missing")).toMatch(/same/);
    type("other", "The capital of Italy is");
    press("Skip and run");
    await settle();
    expect(text(".lab-lead")).toMatch(/very far apart: 3.100 nats/);
    expect(place.querySelectorAll("[data-tour=views] details.lab-more")).toHaveLength(4);
    expect([...place.querySelectorAll("[data-tour=views] figcaption")].map((each) => each.textContent)).toEqual(["Distance of the two streams", "Difference of attention patterns", "Logit lens, first prompt", "Logit lens, second prompt"]);
  });
});

describe("lens and heads", () => {
  test("the answer's way up is said in words", () => {
    const answer = { ...(answerTo({ ask: "lens", model: "toy", prompt: "a b", kind: "logit" }) as never as Parameters<typeof settledText>[0]) };
    expect(settledText(answer)).toBe("The lens puts “␣Paris” first from after layer 3 on, of 4 layers.");
    expect(settledText({ ...answer, followed_rank: [9, 4, 7] })).toMatch(/never.*best rank is 4/);
    expect(settledText({ ...answer, followed_rank: [1, 1] })).toMatch(/from the embedding on/);
  });

  test("a rank has a decade to stand on", () => {
    expect(decades([1, 5])).toEqual([1, 10]);
    expect(decades([1000, 1])).toEqual([1, 10, 100, 1000]);
    expect(decades([1001])).toEqual([1, 10, 100, 1000, 10_000]);
  });

  test("heads are listed by score, and one leads to turning it off", async () => {
    const lab = enter("heads");
    press("Skip and run");
    await settle();
    expect(lab.seen.marks?.legend).toMatch(/induction/);
    type("threshold", "0");
    const scores = [...place.querySelectorAll(".lab-head-list td.lab-number")].map((cell) => Number(cell.textContent));
    expect(scores).toEqual([...scores].sort((a, b) => b - a));
    press("turn off");
    expect(lab.store.now.mode).toBe("ablate");
    expect(lab.store.now.selection.parts).toHaveLength(1);
  });

  test("the strongest cells are those furthest from zero, and unknown ones are none", () => {
    expect(strongestCells([[0.1, null], [-0.9, 0.5]], 2).map(({ value }) => value)).toEqual([-0.9, 0.5]);
    expect(headsAbove([[0.2, 0.9]], 0.5)).toEqual([{ layer: 0, head: 1, score: 0.9 }]);
  });
});
