import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { MODES } from "../src/lab/modes/modes";
import { isDone, pieces, readProgress, type Guide } from "../src/lab/tour";
import { GUIDES } from "../src/lab/tour_guides";
import { tourPanel } from "../src/lab/tour_panel";
import { settle, stage, type Stage, type Staging } from "./lab_stage";

let leaving: AbortController;
let root: HTMLElement;

beforeEach(() => {
  leaving = new AbortController();
  root = document.createElement("div");
  root.className = "lab";
  document.body.replaceChildren(root);
  localStorage.clear();
  Object.assign(globalThis, { ResizeObserver: class { observe(): void {} disconnect(): void {} } });
});
afterEach(() => leaving.abort());

/** The tour beside a place in which the modes come and go, as the shell does it. */
function enter(staging: Staging = {}): Stage {
  const lab = stage(staging);
  const [bar, place] = [document.createElement("div"), document.createElement("div")];
  root.append(bar, place);
  let mounted = new AbortController();
  lab.store.subscribe((now, before) => {
    if (now.mode === before.mode && now.baseline === before.baseline) return;
    mounted.abort();
    mounted = new AbortController();
    place.replaceChildren();
    MODES.find(({ name }) => name === now.mode)?.mount(place, lab, mounted.signal);
  }, leaving.signal);
  tourPanel.mount(bar, lab, leaving.signal);
  return lab;
}

const card = (): HTMLElement => root.querySelector(".lab-tour") as HTMLElement;
const find = (words: string, within: Element = card()): HTMLButtonElement | undefined => [...within.querySelectorAll("button")].find((each) => each.textContent === words);
const begin = async (guide: Guide): Promise<void> => {
  root.querySelector<HTMLButtonElement>(`[data-guide="${guide.name}"] button`)?.click();
  await settle();
};

describe("the guides", () => {
  test("there are the tour and the six experiments of the curriculum", () => {
    expect(GUIDES.map(({ name }) => name)).toEqual(["lab-tour", "first-ablation", "first-patch", "first-steer", "first-comparison", "first-logit-lens", "first-induction-head"]);
  });

  test.each(GUIDES)("$name: says what to do, what came, what it means and what to try next", (guide) => {
    const kinds = guide.steps.map(({ kind }) => kind);
    expect(kinds.at(-1)).toBe("next");
    for (const kind of guide.name === "lab-tour" ? ["do", "see"] : ["do", "predict", "see", "means"]) expect(kinds).toContain(kind);
    for (const step of guide.steps) if (step.until) expect(step.help, step.title).toBeDefined();
  });

  test.each(GUIDES)("$name: before anything is run its words hold no number that was typed", (guide) => {
    const { now } = stage().store;
    for (const step of guide.steps) {
      const typed = step.words(now).join(" ").replace(/“[^”]*”|L0\.mlp|\b77%|after layer \d+|up to layer \d+|\b5 of them|: \d+ blocks|with \d+ heads/g, "").replace(/\[\[[^\]]*\]\]/g, "");
      expect(typed.replace(/100% means|0 means|0 tokens/g, ""), step.title).not.toMatch(/\d/);
    }
  });

  test.each(GUIDES)("$name: every term is one of the glossary", (guide) => {
    const glossary = readFileSync("../glossary.md", "utf8");
    const { now } = stage().store;
    const terms = guide.steps.flatMap((step) => step.words(now).flatMap((words) => pieces(words).flatMap(({ term }) => term ?? [])));
    for (const term of terms) expect(glossary, term).toMatch(new RegExp(`^${term}$`, "m"));
  });

  test.each(GUIDES)("$name: can be walked to its end with its own buttons, and every sentence has its numbers", async (guide) => {
    const lab = enter();
    await begin(guide);
    for (let at = 0; at < guide.steps.length; at += 1) {
      expect(card().querySelector("small")?.textContent).toBe(`${guide.title} · ${at + 1} of ${guide.steps.length}`);
      for (let tries = 0; tries < 3 && find("Do it for me"); tries += 1) {
        find("Do it for me")?.click();
        await settle();
        await settle();
      }
      const step = guide.steps[at];
      expect(step && isDone(step, lab.store.now), step?.title).toBe(true);
      expect(card().textContent, step?.title).not.toMatch(/not measured|not run|not known|undefined|NaN|–/);
      (find("Next") ?? find("Finish"))?.click();
      await settle();
    }
    expect(card().hidden).toBe(true);
    expect(root.querySelector(`[data-guide="${guide.name}"]`)?.textContent).toMatch(/✓ done/);
  });
});

describe("walking", () => {
  const ablation = GUIDES[1] as Guide;

  test("a step that waits lets nobody on, and says when it is done", async () => {
    const lab = enter();
    await begin(ablation);
    find("Next")?.click();
    expect(find("Next")?.disabled).toBe(true);
    expect(card().textContent).toMatch(/Waiting for you/);
    lab.setMode("ablate");
    expect(find("Next")?.disabled).toBe(false);
    expect(lab.seen.announced.at(-1)).toBe("Step done: Go to Ablate.");
  });

  test("leaving with Escape keeps the place, also for the next visit", async () => {
    enter();
    await begin(ablation);
    find("Next")?.click();
    card().dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
    expect(card().hidden).toBe(true);
    leaving.abort();
    leaving = new AbortController();
    root.replaceChildren();
    enter();
    expect(root.querySelector('[data-guide="first-ablation"] button')?.textContent).toBe("Go on at step 2 of 10");
    await begin(ablation);
    expect(card().querySelector("h4")?.textContent).toMatch(/Go to Ablate/);
  });

  test("the target is marked, and “Show me where” takes the focus there", async () => {
    const lab = enter();
    await begin(ablation);
    find("Next")?.click();
    lab.setMode("ablate");
    find("Next")?.click();
    const target = root.querySelector<HTMLElement>("[data-tour=map-run]");
    expect(target?.classList).toContain("lab-tour-at");
    find("Show me where")?.click();
    expect(document.activeElement).toBe(target);
    find("Leave")?.click();
    expect(root.querySelector(".lab-tour-at")).toBeNull();
  });

  test("a prompt that cannot be opened is said, and nothing begins", async () => {
    const lab = enter();
    lab.open = () => Promise.resolve();
    await begin(GUIDES.at(-1) as Guide);
    expect(card().hidden).toBe(true);
    expect(lab.seen.announced.at(-1)).toMatch(/could not be opened/);
  });
});

describe("what the browser kept", () => {
  test.each([null, "", "[]", "5", "{", '{"first-ablation": 99}', '{"first-ablation": -1}', '{"first-ablation": "x"}', '{"first-ablation": 1.5}', '{"other": 1}', '{"__proto__": 1}'])("%s is no progress", (text) => {
    expect(readProgress(text, GUIDES)).toEqual({});
  });

  test("steps and finished guides are", () => {
    expect(readProgress('{"first-ablation": 3, "first-patch": "done"}', GUIDES)).toEqual({ "first-ablation": 3, "first-patch": "done" });
  });
});

test("a guide takes the first of its prompts that can be opened", async () => {
  const last = GUIDES.at(-1) as Guide;
  const lab = enter({ who: (question) => (question.prompt === last.prompts[1] ? "frozen" : null) });
  await begin(last);
  expect(lab.store.now.baseline?.prompt).toBe(last.prompts[1]);
  expect(card().hidden).toBe(false);
});

test("a paragraph falls into letters and terms", () => {
  expect(pieces("a [[logit lens]] and [[token|tokens]].")).toEqual([{ text: "a ", term: null }, { text: "logit lens", term: "logit lens" }, { text: " and ", term: null }, { text: "tokens", term: "token" }, { text: ".", term: null }]);
  expect(pieces("[[unclosed")).toEqual([{ text: "[[unclosed", term: null }]);
});
