import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { LabRefusal } from "../src/lab/app_contract";
import type { HeadMapAnswer } from "../src/lab/contract";
import { ablate } from "../src/lab/modes/ablate";
import { answerTo, settle, stage, type Staging } from "./lab_stage";

class Nothing {
  observe(): void {}
  disconnect(): void {}
}

let leaving: AbortController;
let place: HTMLElement;

beforeEach(() => {
  leaving = new AbortController();
  place = document.createElement("div");
  document.body.replaceChildren(place);
  localStorage.clear();
  Object.assign(globalThis, { ResizeObserver: Nothing });
});
afterEach(() => leaving.abort());

function enter(staging: Staging = {}) {
  const lab = stage(staging);
  ablate.mount(place, lab, leaving.signal);
  return lab;
}

const press = (words: string): void => {
  const button = [...place.querySelectorAll("button")].find((each) => each.textContent?.includes(words));
  if (!button) throw new Error(`no button “${words}” among ${[...place.querySelectorAll("button")].map((each) => each.textContent).join(", ")}`);
  button.click();
};
const text = (selector: string): string => place.querySelector(selector)?.textContent ?? "";

describe("turning parts off", () => {
  test("asks for a part before anything else", () => {
    enter();
    expect(text(".lab-missing")).toMatch(/Choose at least one part/);
  });

  test("runs only once a prediction is made or skipped, and compares it with what came", async () => {
    const lab = enter();
    lab.select({ parts: ["L2H1"] });
    const run = place.querySelector<HTMLButtonElement>("[data-tour=run]");
    expect(run?.disabled).toBe(true);
    place.querySelector<HTMLInputElement>("input[value='down some']")?.click();
    press("Turn off and compare");
    await settle();
    expect(lab.store.now.history.at(-1)?.predicted).toBe("down some");
    expect(text(".lab-judged")).toMatch(/Close.*falls by 5 to 25 points.*−65.0 points, to 12%/);
    expect(text(".lab-headline")).toMatch(/␣Paris.*77%.*12%.*▼ fell, −65.0 points/);
    expect(text(".lab-controls")).toMatch(/72% to 79%/);
    expect(text(".lab-reading")).toMatch(/What it says in plain words/);
    expect(lab.seen.changed).toEqual({ parts: ["L2H1"], word: "off" });
    expect(lab.seen.announced.at(-1)).toMatch(/fell from 77% to 12%/);
  });

  test("a skipped prediction is compared with nothing", async () => {
    const lab = enter();
    lab.select({ parts: ["L0.mlp"] });
    press("Skip and run");
    await settle();
    expect(place.querySelector(".lab-judged")).toBeNull();
    expect(lab.store.now.history.at(-1)?.predicted).toBe("");
  });

  test("a name that the model has no part for is a sentence", () => {
    enter();
    const input = place.querySelector<HTMLInputElement>(".lab-typed input");
    if (input) input.value = "L99H4";
    place.querySelector<HTMLFormElement>(".lab-typed")?.requestSubmit();
    expect(text(".lab-lack")).toBe("toy has no layer 99: its layers are 0 to 3.");
  });

  test("a refusal is a sentence, and another try runs", async () => {
    let isFirst = true;
    const lab = enter({
      answer: (question) => {
        if (question.ask === "ablate" && isFirst) {
          isFirst = false;
          return Promise.reject(new LabRefusal({ message: "It does not fit.", code: "x" }));
        }
        return Promise.resolve(answerTo(question));
      },
    });
    lab.select({ parts: ["L1"] });
    press("Skip and run");
    await settle();
    expect(text("[role=alert].lab-note")).toMatch(/It does not fit/);
    press("Try again");
    await settle();
    expect(text(".lab-headline")).toMatch(/12%/);
  });

  test("a frozen Lab says what it cannot answer, offers what it can, and leads to a kernel", () => {
    const stored = { ask: "ablate", model: "toy", prompt: "The capital of France is", parts: ["L3H0"], method: "zero", seed: 0 } as const;
    const lab = enter({ who: (question) => (question.ask === "ablate" && question.parts[0] === "L3H0" ? "frozen" : null), stored: [stored], now: { connection: { kind: "frozen", canStart: true } } });
    lab.select({ parts: ["L0H0", "L1H1"] });
    expect(text(".lab-note")).toMatch(/frozen/);
    press("Go live");
    expect(lab.seen.wentLive).toBe(1);
    press("L3H0 (zero)");
    expect(lab.store.now.selection.parts).toEqual(["L3H0"]);
    expect(place.querySelector(".lab-predict .lab-note")).toBeNull();
  });
});

describe("the map of all heads", () => {
  test("fills as cells come, marks the picture, and can be cancelled", async () => {
    const half = answerTo({ ask: "head_map", model: "toy", prompt: "a", method: "zero", seed: 0 }) as HeadMapAnswer;
    const partial = { ...half, effect: half.effect.map((row, layer) => (layer < 2 ? row : row.map(() => null))) };
    const lab = enter({
      answer: (question, signal, onPart) => {
        if (question.ask !== "head_map") return Promise.resolve(answerTo(question));
        onPart(partial);
        return new Promise((_, reject) => signal.addEventListener("abort", () => reject(new DOMException("stopped", "AbortError"))));
      },
    });
    press("Measure all 12 heads");
    await settle();
    expect(place.querySelector("progress")?.value).toBe(0.5);
    expect(lab.seen.marks?.heads?.[0]?.[0]).toBe(half.effect[0]?.[0]);
    press("Cancel");
    await settle();
    expect(place.querySelector("progress")).toBeNull();
    expect(place.querySelector(".lab-map")).not.toBeNull();
    expect(lab.store.now.history).toEqual([]);
  });

  test("a finished map stands in the history and comes back with the mode", async () => {
    const lab = enter();
    press("Measure all 12 heads");
    await settle();
    expect(lab.store.now.history.map(({ question }) => question.ask)).toEqual(["head_map"]);
    leaving.abort();
    leaving = new AbortController();
    place.replaceChildren();
    ablate.mount(place, lab, leaving.signal);
    expect(place.querySelector(".lab-map")).not.toBeNull();
  });
});
