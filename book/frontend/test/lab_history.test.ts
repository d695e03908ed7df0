import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Entry, LabNow } from "../src/lab/app_contract";
import type { LabState, Question } from "../src/lab/contract";
import { experimentJson } from "../src/lab/export_data";
import { historyBar } from "../src/lab/history_bar";
import { cleanName, compareAnswers, modeOf, removed, renamed, replayWords, returnTo } from "../src/lab/history_list";
import { linkText, readExperiment, readLink, stateOf } from "../src/lab/history_link";
import { pairRows } from "../src/lab/history_pair";
import { historyPanel } from "../src/lab/history_panel";
import { cleanQuestion } from "../src/lab/history_shapes";
import { momentOf, Trail, type Moment } from "../src/lab/history_trail";
import { answerTo, MODEL, PROMPT, settle, stage, type Stage } from "./lab_stage";

const ASKED = { model: MODEL, prompt: PROMPT } as const;
const OFF: Question = { ...ASKED, ask: "ablate", parts: ["L1H2"], method: "zero", seed: 0 };
const QUESTIONS: readonly Question[] = [
  OFF,
  { ...ASKED, ask: "head_map", method: "mean", seed: 3 },
  { ...ASKED, ask: "patch", corrupted: "The capital of Italy is", part: "L2.resid_pre", position: null },
  { ...ASKED, ask: "patch_map", corrupted: "Ünïcödé 北京", over: "mlp_out" },
  { ...ASKED, ask: "steer", toward: "I love\nthis", away: "", layer: 2, coef: -2.5 },
  { ...ASKED, ask: "compare", other: "Another" },
  { ...ASKED, ask: "lens", kind: "tuned" },
  { ...ASKED, ask: "heads" },
];
const STATE: LabState = { ...ASKED, mode: "patch", position: 3, part: "L1H2", history: QUESTIONS.map((question, index) => ({ name: `No ${index}`, question, predicted: index === 0 ? "down some" : "" })) };
const coded = (raw: unknown): string => `lab=${Buffer.from(JSON.stringify(raw)).toString("base64url")}`;

let leaving: AbortController;
let place: HTMLElement;
beforeEach(() => {
  leaving = new AbortController();
  place = document.createElement("div");
  place.className = "lab";
  document.body.replaceChildren(place);
  history.replaceState(null, "", location.pathname);
  Object.assign(globalThis, { ResizeObserver: class { observe(): void {} disconnect(): void {} } });
});
afterEach(() => leaving.abort());

describe("permalinks", () => {
  test("every kind of experiment goes through a link and comes back the same", () => {
    expect(readLink(`#${linkText(STATE)}`)).toEqual({ kind: "state", state: STATE });
    expect(readLink(`https://book.example/lab.html#${linkText(STATE)}`)).toEqual({ kind: "state", state: STATE });
  });

  test("a link is letters that need no escaping", () => {
    expect(linkText(STATE)).toMatch(/^lab=[\w-]+$/);
  });

  test("an address without a Lab in it is none", () => {
    for (const given of ["", "#section-2", "https://a.b/c", "#slab=x"]) expect(readLink(given)).toEqual({ kind: "none" });
  });

  const bad: readonly [string, string, RegExp][] = [
    ["cut off", linkText(STATE).slice(0, 90), /not whole/],
    ["no base64", "#lab=%%%", /not whole/],
    ["no JSON", `lab=${Buffer.from("hello").toString("base64url")}`, /not whole/],
    ["broken letters", `lab=${Buffer.from([0xff, 0xfe, 0x7b]).toString("base64url")}`, /not whole/],
    ["a list", coded([1]), /not whole/],
    ["too long", `#lab=${"A".repeat(70_000)}`, /longer than/],
    ["no prompt", coded({ ...STATE, prompt: "" }), /link.prompt/],
    ["another mode", coded({ ...STATE, mode: "delete" }), /link.mode/],
    ["a fraction as position", coded({ ...STATE, position: 1.5 }), /link.position/],
    ["a part that is none", coded({ ...STATE, part: "<img src=x>" }), /link.part/],
    ["an unknown question", coded({ ...STATE, history: [{ name: "x", predicted: "", question: { ...ASKED, ask: "constructor" } }] }), /history\[0\].question.ask/],
    ["a question about code", coded({ ...STATE, history: [{ name: "x", predicted: "", question: { ...ASKED, ask: "code", about: OFF, dialect: "tlab" } }] }), /question.ask/],
    ["a wrong method", coded({ ...STATE, history: [{ name: "x", predicted: "", question: { ...OFF, method: "explode" } }] }), /method/],
    ["an enormous strength", coded({ ...STATE, history: [{ name: "x", predicted: "", question: { ...QUESTIONS[4], coef: 1e9 } }] }), /coef/],
    ["no parts", coded({ ...STATE, history: [{ name: "x", predicted: "", question: { ...OFF, parts: [] } }] }), /1 to 1000 parts/],
    ["too many experiments", coded({ ...STATE, history: Array.from({ length: 101 }, () => ({ name: "x", predicted: "", question: OFF })) }), /at most 100 experiments/],
  ];
  test.each(bad)("%s is one sentence with a way out", (_name, given, says) => {
    const read = readLink(given);
    expect(read.kind).toBe("wrong");
    if (read.kind === "wrong") expect(read.message).toMatch(says);
    if (read.kind === "wrong") expect(read.message).toMatch(/Ask for it again/);
  });

  test("what else came along in a question is left behind", () => {
    expect(cleanQuestion({ ...OFF, evil: "__proto__" } as never)).toEqual(OFF);
  });

  test("a state says what is shown; before the first prompt there is none", () => {
    const { now } = stage().store;
    expect(stateOf({ ...now, baseline: null })).toBeNull();
    expect(stateOf({ ...now, mode: "steer" })).toMatchObject({ ...ASKED, mode: "steer", history: [] });
  });
});

describe("an experiment as JSON", () => {
  test.each(QUESTIONS)("$ask can be exported and opened again", (question) => {
    const text = experimentJson({ name: "Mine", question, predicted: "same", answer: answerTo(question) });
    expect(readExperiment(text)).toEqual({ kind: "state", state: { ...ASKED, mode: "look", position: null, part: null, history: [{ name: "Mine", question, predicted: "same" }] } });
  });

  test.each([["{", /expected an object/], ['{"format": "other"}', /tlab-lab-experiment/], ['{"format": "tlab-lab-experiment", "version": 2}', /only version/], ['{"format": "tlab-lab-experiment", "version": 1, "name": "a", "predicted": "", "question": {"ask": "open"}}', /an experiment/]])("%s is a sentence", (text, says) => {
    const read = readExperiment(text);
    expect(read.kind === "wrong" && read.message).toMatch(says);
  });

  test("pasted, it is run again and stands beside the others", async () => {
    const lab = stage();
    historyBar.mount(place, lab, leaving.signal);
    await lab.run({ ...ASKED, ask: "heads" }, "");
    const field = place.querySelector<HTMLInputElement>("form input");
    if (field) field.value = experimentJson({ name: "Mine", question: OFF, predicted: "", answer: null });
    place.querySelector("form")?.requestSubmit();
    await settle();
    await settle();
    expect(lab.store.now.experiment).toMatchObject({ kind: "done", question: OFF });
    expect(lab.store.now.history).toMatchObject([{ name: "Scores of all heads" }, { name: "Mine" }]);
  });
});

describe("undo and redo", () => {
  const base = momentOf(stage().store.now);
  const at = (change: Partial<Moment>): Moment => ({ ...base, ...change });

  test("a change can be taken back and done again; a new one ends the redo", () => {
    const trail = new Trail();
    trail.record(base);
    trail.record(at({ mode: "patch" }));
    trail.record(at({ mode: "steer" }));
    expect(trail.undo()?.mode).toBe("patch");
    expect(trail.redo()?.mode).toBe("steer");
    trail.undo();
    trail.record(at({ mode: "lens" }));
    expect(trail.canRedo).toBe(false);
    expect(trail.undo()?.mode).toBe("patch");
  });

  test("at either end there is nothing to go to", () => {
    const trail = new Trail();
    expect([trail.undo(), trail.redo()]).toEqual([null, null]);
    trail.record(base);
    expect(trail.canUndo).toBe(false);
  });

  test("what runs is no moment, and walking along the positions is one", () => {
    const trail = new Trail();
    trail.record(base);
    trail.record(at({ experiment: { kind: "running", question: OFF, predicted: "", soFar: null } }));
    for (const position of [0, 1, 2]) trail.record(at({ selection: { ...base.selection, position } }));
    expect(trail.canUndo).toBe(false);
    trail.record(at({ selection: { ...base.selection, parts: ["L1"] } }));
    expect(trail.undo()?.selection.position).toBe(2);
  });

  test("it keeps a hundred moments and forgets the oldest", () => {
    const trail = new Trail();
    for (let count = 0; count < 150; count += 1) trail.record(at({ history: [{ name: String(count), question: OFF, predicted: "", answer: null }] }));
    let back = 0;
    while (trail.undo()) back += 1;
    expect(back).toBe(99);
  });

  test("in the Lab, undo brings the experiment back with its numbers and asks nobody", async () => {
    const asked: Question[] = [];
    const lab = stage({ answer: (question) => (asked.push(question), Promise.resolve(answerTo(question))) });
    historyBar.mount(place, lab, leaving.signal);
    await lab.run(OFF, "");
    lab.setMode("lens");
    const [undo, redo] = [...place.querySelectorAll("button")];
    undo?.click();
    expect(lab.store.now.experiment).toMatchObject({ kind: "done", question: OFF });
    redo?.click();
    expect(lab.store.now.mode).toBe("lens");
    expect(asked).toEqual([OFF]);
    place.dispatchEvent(new KeyboardEvent("keydown", { key: "z", ctrlKey: true, bubbles: true }));
    expect(lab.store.now.experiment.kind).toBe("done");
  });

  test("keys belong to a text while one types it", () => {
    const lab = stage();
    historyBar.mount(place, lab, leaving.signal);
    lab.setMode("lens");
    const field = place.appendChild(document.createElement("textarea"));
    field.dispatchEvent(new KeyboardEvent("keydown", { key: "z", ctrlKey: true, bubbles: true }));
    expect(lab.store.now.mode).toBe("lens");
  });
});

describe("taking up a link", () => {
  test("a page that is opened with one shows its state and runs its last experiment", async () => {
    history.replaceState(null, "", `#${linkText({ ...STATE, history: STATE.history.slice(0, 1) })}`);
    const lab = stage();
    historyBar.mount(place, lab, leaving.signal);
    await settle();
    await settle();
    expect(lab.store.now.mode).toBe("ablate");
    expect(lab.store.now.experiment).toMatchObject({ kind: "done", question: OFF, predicted: "down some" });
    expect(lab.store.now.history).toMatchObject([{ name: "No 0", predicted: "down some" }]);
    expect(lab.store.now.history).toHaveLength(1);
  });

  test("a damaged one is a sentence, and the Lab stays as it is", async () => {
    history.replaceState(null, "", "#lab=damaged");
    const lab = stage();
    historyBar.mount(place, lab, leaving.signal);
    await settle();
    expect(place.textContent).toMatch(/cannot be opened/);
    expect(lab.store.now.mode).toBe("look");
  });

  test("what is pasted and is no link says so", async () => {
    historyBar.mount(place, stage(), leaving.signal);
    const field = place.querySelector<HTMLInputElement>("form input");
    if (field) field.value = "hello";
    place.querySelector("form")?.requestSubmit();
    await settle();
    expect(place.textContent).toMatch(/neither a link/);
  });

  test("copying gives the text, or shows it where the browser does not allow it", async () => {
    historyBar.mount(place, stage(), leaving.signal);
    [...place.querySelectorAll("button")].find((each) => each.textContent === "Copy the link")?.click();
    await settle();
    expect(readLink(place.querySelector(".lab-link-text")?.textContent ?? "").kind).toBe("state");
  });
});

describe("the history", () => {
  const entry = (name: string, change: Partial<Entry> = {}): Entry => ({ name, question: OFF, predicted: "", answer: answerTo(OFF), ...change });

  async function withTwo(): Promise<Stage> {
    const lab = stage();
    historyPanel.mount(place, lab, leaving.signal);
    await lab.run(OFF, "down much");
    await lab.run({ ...OFF, parts: ["L0H0"] } as Question, "");
    return lab;
  }
  const press = (words: string, index = 0): void => [...place.querySelectorAll("button")].filter((each) => each.textContent === words)[index]?.click();

  test("names are one line, bounded, and never empty", () => {
    expect(cleanName("  a\n b ", "x")).toBe("a b");
    expect(cleanName("   ", "x")).toBe("x");
    expect(cleanName("y".repeat(500), "x")).toHaveLength(80);
    const [a, b] = [entry("a"), entry("b")];
    expect(renamed([a, b], b, "c").map(({ name }) => name)).toEqual(["a", "c"]);
    expect(removed([a, b], a)).toEqual([b]);
  });

  test("each experiment knows its mode", () => {
    expect(QUESTIONS.map(modeOf)).toEqual(["ablate", "ablate", "patch", "patch", "steer", "compare", "lens", "heads"]);
  });

  test("it says what came and what was predicted", async () => {
    await withTwo();
    expect(place.querySelector(".lab-entry")?.textContent).toMatch(/L1H2 off.*fell from 77% to 12%.*you said: falls by more than 25 points ✓/);
  });

  test("renaming by keyboard keeps the name, Escape does not", async () => {
    const lab = await withTwo();
    press("Rename");
    const input = place.querySelector<HTMLInputElement>(".lab-entry-form input");
    if (input) input.value = "My first";
    place.querySelector<HTMLFormElement>(".lab-entry-form")?.requestSubmit();
    expect(lab.store.now.history[0]?.name).toBe("My first");
    press("Rename");
    place.querySelector(".lab-entry-form input")?.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
    expect(place.querySelector(".lab-entry-form")).toBeNull();
  });

  test("removing leaves the others", async () => {
    const lab = await withTwo();
    press("Remove");
    expect(lab.store.now.history.map(({ name }) => name)).toEqual(["L0H0 off (zero)"]);
  });

  test("going back shows the stored numbers without asking again", async () => {
    const lab = await withTwo();
    lab.setMode("lens");
    press("Show");
    await settle();
    expect(lab.store.now.mode).toBe("ablate");
    expect(lab.store.now.experiment).toMatchObject({ kind: "done", question: OFF, predicted: "down much" });
    expect(lab.store.now.selection.parts).toEqual(["L1H2"]);
    expect(lab.store.now.history).toHaveLength(2);
  });

  test("going back to another prompt opens it first, and stays where that is refused", async () => {
    const other = { ...OFF, prompt: "Another" } as Question;
    const lab = stage();
    await returnTo(lab, entry("b", { question: other }));
    expect(lab.store.now.baseline?.prompt).toBe("Another");
    const stubborn = stage();
    vi.spyOn(stubborn, "open").mockResolvedValue();
    await returnTo(stubborn, entry("b", { question: other }));
    expect(stubborn.store.now.experiment.kind).toBe("none");
  });

  test("two can be put side by side", async () => {
    await withTwo();
    for (const index of [0, 1]) place.querySelectorAll<HTMLInputElement>("input[type=checkbox]")[index]?.click();
    expect(place.querySelector("table caption")?.textContent).toBe("Two experiments side by side");
    const rows = pairRows(entry("a"), entry("b", { answer: null }));
    expect(rows.find(({ words }) => words === "after")).toEqual({ words: "after", a: "12%", b: "–" });
  });

  test("replaying says whether the numbers are the same", async () => {
    await withTwo();
    press("Replay");
    await settle();
    expect(place.querySelector(".lab-entry-says")?.textContent).toBe("Replayed: every number is the same.");
  });

  test.each([
    [{ a: 1, b: [0.5] }, { a: 1, b: [0.5001] }, /up to rounding/],
    [{ a: 1, b: [0.5] }, { a: 1, b: [0.9] }, /differs, most at answer.b.0/],
    [{ a: 1 }, { a: "1" }, /differs at answer.a/],
    [{ a: [1] }, { a: [1, 2] }, /differs at answer.a.1/],
    [{ a: 1, explain: "x" }, { a: 1, explain: "y" }, /every number is the same/],
  ])("replay of %j beside %j", (kept, anew, says) => {
    expect(replayWords(compareAnswers(kept, anew))).toMatch(says);
  });
});

test("what is kept of the Lab is enough for every listener", () => {
  const now: LabNow = stage().store.now;
  expect(Object.keys(momentOf(now)).sort()).toEqual(["baseline", "experiment", "history", "mode", "selection"]);
});
