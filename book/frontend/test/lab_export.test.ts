import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { LabRefusal, type AnyAnswer, type Entry } from "../src/lab/app_contract";
import type { Question } from "../src/lab/contract";
import { csv, experimentJson, tableOf } from "../src/lab/export_data";
import { askingCode, experimentsNotebook, python } from "../src/lab/export_notebook";
import { exportPanel } from "../src/lab/export_panel";
import { escaped, svgOf } from "../src/lab/export_picture";
import { answerTo, MODEL, PROMPT, settle, stage } from "./lab_stage";

const ASKED = { model: MODEL, prompt: PROMPT } as const;
const QUESTIONS: readonly Question[] = [
  { ...ASKED, ask: "ablate", parts: ["L1H2"], method: "zero", seed: 0 },
  { ...ASKED, ask: "head_map", method: "mean", seed: 3 },
  { ...ASKED, ask: "patch", corrupted: "b", part: "L2", position: 1 },
  { ...ASKED, ask: "patch_map", corrupted: "The capital of Italy is", over: "resid_pre" },
  { ...ASKED, ask: "patch_map", corrupted: "The capital of Italy is", over: "head" },
  { ...ASKED, ask: "steer", toward: "I love", away: "I hate", layer: 2, coef: 2 },
  { ...ASKED, ask: "compare", other: "The capital of Italy is" },
  { ...ASKED, ask: "lens", kind: "logit" },
  { ...ASKED, ask: "heads" },
];
const entryOf = (question: Question, change: Partial<Entry> = {}): Entry => ({ name: question.ask, question, predicted: "", answer: answerTo(question), ...change });

describe("data", () => {
  test.each(QUESTIONS)("$ask has a table with a head, and each row as wide as it", (question) => {
    const rows = tableOf(answerTo(question));
    expect(rows.length).toBeGreaterThan(1);
    expect(new Set(rows.map((row) => row.length)).size).toBe(1);
    expect(rows[0]?.every((cell) => typeof cell === "string")).toBe(true);
  });

  test("a map has one row a cell", () => {
    expect(tableOf(answerTo(QUESTIONS[1] as Question))).toHaveLength(1 + 4 * 3);
    expect(tableOf(answerTo(QUESTIONS[3] as Question))).toHaveLength(1 + 4 * 5);
  });

  test("what a spreadsheet would run, split or lose is quoted", () => {
    expect(csv([["=1+1", 'say "hi"', "a,b", " Paris", null, -0.5, "line\nend"]])).toBe(`'=1+1,"say ""hi""","a,b"," Paris",,-0.5,"line\nend"\r\n`);
  });

  test("an experiment as JSON is whole in itself", () => {
    const entry = entryOf(QUESTIONS[0] as Question, { predicted: "same" });
    expect(JSON.parse(experimentJson(entry))).toEqual({ format: "tlab-lab-experiment", version: 1, ...entry });
  });
});

describe("notebook", () => {
  const read = (text: string): { cells: { cell_type: string; source: string[] }[]; nbformat: number } => JSON.parse(text) as never;

  test("each experiment has its prediction, what came, and its code", () => {
    const notebook = read(experimentsNotebook([entryOf(QUESTIONS[0] as Question, { predicted: "down some" }), entryOf(QUESTIONS[8] as Question)], (question) => (question.ask === "ablate" ? "tlab.ablate()" : null)));
    expect(notebook.nbformat).toBe(4);
    expect(notebook.cells.map(({ cell_type }) => cell_type)).toEqual(["markdown", "code", "markdown", "code", "markdown", "code"]);
    const sources = notebook.cells.map(({ source }) => source.join(""));
    expect(sources[2]).toMatch(/down some/);
    expect(sources[3]).toBe("tlab.ablate()");
    expect(sources[5]).toBe('answer = tlab.lab.answer(tlab.load, {"model": "toy", "prompt": "The capital of France is", "ask": "heads"})\nprint(answer["explain"])');
  });

  test("foreign names and prompts stay letters in the prose", () => {
    const question = { ...QUESTIONS[0], prompt: "a ``tick`` <script>" } as Question;
    const notebook = read(experimentsNotebook([entryOf(question, { name: "<img src=x onerror=alert(1)> [a](javascript:b)" })], () => null));
    const prose = notebook.cells[2]?.source.join("") ?? "";
    expect(prose).not.toMatch(/<img/);
    expect(prose).not.toMatch(/[^\\]\]\(/);
    expect(prose).toContain("``` a ``tick`` <script> ```");
  });

  test("an empty history is a notebook that says so", () => {
    expect(read(experimentsNotebook([], () => null)).cells).toHaveLength(1);
  });

  test("values are written as Python writes them", () => {
    expect(python({ a: null, b: [true, -0.5], c: "it's \"q\"\n\u2028" })).toBe('{"a": None, "b": [True, -0.5], "c": "it\'s \\"q\\"\\n\\u2028"}');
    expect(askingCode(QUESTIONS[2] as Question)).toContain('"position": 1');
  });
});

describe("pictures", () => {
  test.each(QUESTIONS)("$ask is an SVG that an XML parser takes, with title and source", (question) => {
    const document = new DOMParser().parseFromString(svgOf(entryOf(question)) ?? "", "image/svg+xml");
    expect(document.querySelector("parsererror")).toBeNull();
    expect(document.querySelector("title")?.textContent).not.toBe("");
    expect(document.documentElement.textContent).toContain("toy · “The␣capital");
  });

  test("a token that would be markup is letters", () => {
    const answer = { ...answerTo(QUESTIONS[0] as Question), token: "<script>&\u0000", clean: [{ token: "</text><script>", id: 1, p: 0.5 }] } as never;
    const svg = svgOf(entryOf(QUESTIONS[0] as Question, { answer })) ?? "";
    const document = new DOMParser().parseFromString(svg, "image/svg+xml");
    expect(document.querySelector("parsererror, script")).toBeNull();
    expect(escaped("a\u0000b")).toBe("a�b");
  });

  test("what has not been run has no picture, and unknown cells are dots", () => {
    expect(svgOf(entryOf(QUESTIONS[0] as Question, { answer: null }))).toBeNull();
    const partial = { ...answerTo(QUESTIONS[1] as Question), effect: [[null, 0.5]] } as AnyAnswer;
    expect(svgOf(entryOf(QUESTIONS[1] as Question, { answer: partial }))).toContain("·</text>");
  });
});

describe("the menu", () => {
  let leaving: AbortController;
  let place: HTMLElement;
  beforeEach(() => {
    leaving = new AbortController();
    place = document.createElement("div");
    document.body.replaceChildren(place);
    URL.createObjectURL = vi.fn(() => "blob:x");
    URL.revokeObjectURL = vi.fn();
    vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(() => undefined);
  });
  afterEach(() => leaving.abort());
  const press = (words: string): void => [...place.querySelectorAll("button")].find((each) => each.textContent?.startsWith(words))?.click();

  test("Escape and a press beside it close it", () => {
    exportPanel.mount(place, stage(), leaving.signal);
    const fold = place.querySelector("details");
    if (!fold) throw new Error("no menu");
    fold.open = true;
    fold.querySelector("select")?.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
    expect([fold.open, document.activeElement]).toEqual([false, fold.querySelector("summary")]);
    fold.open = true;
    fold.querySelector("select")?.dispatchEvent(new Event("pointerdown", { bubbles: true }));
    expect(fold.open).toBe(true);
    document.body.dispatchEvent(new Event("pointerdown", { bubbles: true }));
    expect(fold.open).toBe(false);
  });

  test("with nothing run yet everything says so", () => {
    exportPanel.mount(place, stage(), leaving.signal);
    for (const words of ["Show the code", "JSON", "CSV", "SVG"]) {
      press(words);
      expect(place.textContent).toMatch(/no experiment yet/);
    }
  });

  test("code comes in the chosen dialect, with a manifest to copy", async () => {
    const asked: Question[] = [];
    const lab = stage({ answer: (question) => (asked.push(question), Promise.resolve(answerTo(question))) });
    exportPanel.mount(place, lab, leaving.signal);
    await lab.run(QUESTIONS[0] as Question, "");
    const dialect = place.querySelectorAll("select")[1];
    if (dialect) dialect.value = "nnsight";
    press("Show the code");
    await settle();
    expect(asked.at(-1)).toMatchObject({ ask: "code", about: QUESTIONS[0], dialect: "nnsight" });
    expect(place.querySelector("pre")?.textContent).toMatch(/# ablate/);
    expect([...place.querySelectorAll("button")].map((each) => each.textContent)).toContain("Copy the manifest");
  });

  test("without a kernel tlab's code is the question, and other libraries are a sentence", async () => {
    const lab = stage({ answer: (question) => (question.ask === "code" ? Promise.reject(new LabRefusal({ message: "Plain code needs a kernel.", code: "needs-kernel" })) : Promise.resolve(answerTo(question))) });
    exportPanel.mount(place, lab, leaving.signal);
    await lab.run(QUESTIONS[0] as Question, "");
    press("Show the code");
    await settle();
    expect(place.querySelector("pre")?.textContent).toContain("tlab.lab.answer(tlab.load");
    const dialect = place.querySelectorAll("select")[1];
    if (dialect) dialect.value = "torch";
    press("Show the code");
    await settle();
    expect(place.querySelector("pre")).toBeNull();
    expect(place.textContent).toMatch(/needs a kernel/);
  });

  test("files are saved under a name", async () => {
    const lab = stage();
    exportPanel.mount(place, lab, leaving.signal);
    await lab.run(QUESTIONS[0] as Question, "");
    for (const words of ["JSON", "CSV", "SVG", "Notebook"]) press(words);
    await settle();
    expect(URL.createObjectURL).toHaveBeenCalledTimes(4);
  });
});
