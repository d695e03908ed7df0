import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { patch } from "../src/lab/modes/patch";
import { threeRows } from "../src/lab/modes/patch_result";
import { guesses, settle, stage, type Staging } from "./lab_stage";

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

function enter(staging: Staging = {}) {
  const lab = stage(staging);
  patch.mount(place, lab, leaving.signal);
  return lab;
}

const text = (selector: string): string => place.querySelector(selector)?.textContent ?? "";

async function corrupt(prompt: string): Promise<void> {
  const field = place.querySelector<HTMLTextAreaElement>("[data-tour=corrupted]");
  if (field) field.value = prompt;
  field?.dispatchEvent(new Event("change"));
  await settle();
}

describe("patching", () => {
  test("asks for another prompt before a place, and shows both token by token", async () => {
    enter();
    expect(text(".lab-missing")).toMatch(/Both prompts are the same/);
    await corrupt("The capital of Italy is");
    expect(text(".lab-missing")).toMatch(/Choose a place/);
    expect(place.querySelectorAll("[data-differs]")).toHaveLength(4);
    expect(text("[data-tour=pair]")).toMatch(/differ in one place/);
  });

  test("an empty corrupted prompt is a sentence", async () => {
    enter();
    await corrupt("  ");
    expect(text(".lab-missing")).toMatch(/empty/);
  });

  test("prompts of different lengths cannot be patched at a position, and say so", async () => {
    const lab = enter();
    await corrupt("The capital of Italy now is");
    lab.select({ parts: ["L1H1"] });
    expect(place.querySelector("[data-tour=run]")).not.toBeNull();
    const at = [...place.querySelectorAll("select")].at(-1);
    if (at) at.value = "2";
    at?.dispatchEvent(new Event("change"));
    expect(text(".lab-missing")).toMatch(/5 tokens and the corrupted one 6/);
  });

  test("a cell of the map asks for that place, and the share is compared with the prediction", async () => {
    const lab = enter();
    await corrupt("The capital of Italy is");
    [...place.querySelectorAll("button")].find((each) => each.textContent === "Measure 20 places")?.click();
    await settle();
    place.querySelector<HTMLButtonElement>(".lab-strongest button")?.click();
    expect(lab.store.now.selection.parts).toEqual(["L0.resid_pre"]);
    expect(text("[data-tour=place]")).toMatch(/at position 3, “␣France”/);
    place.querySelector<HTMLInputElement>("input[value=most]")?.click();
    place.querySelector<HTMLButtonElement>("[data-tour=run]")?.click();
    await settle();
    expect(lab.store.now.history.at(-1)?.question).toMatchObject({ ask: "patch", part: "L0.resid_pre", position: 3 });
    expect(text(".lab-judged")).toMatch(/As you said.*62% of the way/);
    expect(text(".lab-before-after")).toMatch(/△ corrupted run.*◆ patched run: L0.resid_pre at position 3.*○ clean run/);
  });

  test("a frozen Lab begins with the corrupted prompt that is stored", () => {
    enter({ stored: [{ ask: "patch_map", model: "toy", prompt: "The capital of France is", corrupted: "The capital of Spain is", over: "head" }] });
    expect(place.querySelector<HTMLTextAreaElement>("[data-tour=corrupted]")?.value).toBe("The capital of Spain is");
  });

  test("three runs are joined by token", () => {
    const rows = threeRows({ corrupted: guesses([0.1, 0.6]), patched: guesses([0.5]), clean: [{ id: 7, token: " Rome", p: 0.2 }] });
    expect(rows.map(({ token, corrupted, patched, clean }) => [token, corrupted, patched, clean])).toEqual([[" the", 0.6, null, null], [" Paris", 0.1, 0.5, null], [" Rome", null, null, 0.2]]);
  });
});
