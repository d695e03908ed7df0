// Sources: what is stored is found whatever its spelling, what a kernel says is checked, and each failure is a sentence.

import { afterEach, describe, expect, it, vi } from "vitest";
import type { Answers, FromKernel, OpenAnswer, Question, ToKernel } from "../src/lab/contract";
import { canonical } from "../src/lab/sources/canonical";
import { checked } from "../src/lab/sources/checked";
import { CombinedSource } from "../src/lab/sources/combined";
import { FrozenSource } from "../src/lab/sources/frozen";
import { LiveSource, type WidgetModel } from "../src/lab/sources/live";
import { MODEL, opened, PROMPT } from "./lab_stage";

const OPEN = { ask: "open", model: MODEL, prompt: PROMPT } as const;
const FLOW = { ask: "flow", model: MODEL, prompt: PROMPT, position: 4 } as const;
const forever = new AbortController().signal;

afterEach(() => {
  delete window.tlFrozen;
  delete window.tlFrozenIndex;
});

function frozenWith(answers: readonly (readonly [string, unknown])[], name = "france"): { source: FrozenSource; loaded: string[] } {
  const loaded: string[] = [];
  const source = new FrozenSource(async (file) => {
    loaded.push(file);
    if (file === "index.js") window.tlFrozenIndex = [{ model: MODEL, prompt: PROMPT, name }, { model: 3 }];
    else window.tlFrozen = { [name]: { version: 1, model: MODEL, prompt: PROMPT, questions: answers.map(([q]) => q), answers: answers.map(([, a]) => a) } };
  });
  return { source, loaded };
}

class ScriptedWidget implements WidgetModel {
  readonly sent: ToKernel[] = [];
  isClosed = false;
  #hear: ((content: unknown) => void) | null = null;

  get(name: string): unknown {
    return name === "models" ? [MODEL, 7] : undefined;
  }
  send(content: ToKernel): void {
    if (this.isClosed) throw new Error("closed");
    this.sent.push(content);
  }
  on(_: "msg:custom", hear: (content: unknown) => void): void {
    this.#hear = hear;
  }
  off(): void {
    this.#hear = null;
  }
  say(message: FromKernel | unknown): void {
    this.#hear?.(message);
  }
}

describe("canonical questions", () => {
  it("are the same for any order, any spaces, and 4 or 4.0", () => {
    const python = JSON.parse('{"prompt": "a", "model": "m", "coef": 4.0, "ask": "steer"}') as unknown;
    expect(canonical(python)).toBe(canonical({ ask: "steer", coef: 4, model: "m", prompt: "a" }));
    expect(canonical({ b: [1, { d: null, c: "ü" }], a: true })).toBe('{"a":true,"b":[1,{"c":"ü","d":null}]}');
  });
});

describe("a frozen source", () => {
  it("loads its list at once and a prompt's file only when it is asked", async () => {
    const { source, loaded } = frozenWith([[canonical(OPEN), opened()]]);
    await source.start();
    expect(loaded).toEqual(["index.js"]);
    expect(source.entries).toHaveLength(1);
    expect(source.can(OPEN)).toBe(true);
    expect(source.can(FLOW)).toBe(false);
    expect((await source.ask(OPEN, forever)).tokens).toHaveLength(5);
    expect(loaded).toEqual(["index.js", "france.js"]);
    expect(source.questions(MODEL, PROMPT).map(({ ask }) => ask)).toEqual(["open"]);
  });

  it("refuses what it does not hold, and says that a kernel is needed", async () => {
    const { source } = frozenWith([[canonical(OPEN), opened()]]);
    await source.start();
    await expect(source.ask(FLOW, forever)).rejects.toMatchObject({ refusal: { code: "needs-kernel" } });
    await expect(source.ask({ ...OPEN, prompt: "other" }, forever)).rejects.toMatchObject({ refusal: { code: "needs-kernel" } });
  });

  it("says so when a file is damaged, and has no prompts when there is no list", async () => {
    const { source } = frozenWith([["{", 1]]);
    await source.start();
    await expect(source.ask(OPEN, forever)).rejects.toMatchObject({ refusal: { code: "needs-kernel" } });
    window.tlFrozen = { france: { version: 2 } };
    const again = frozenWith([]).source;
    await again.start();
    await expect(again.ask(OPEN, forever)).rejects.toMatchObject({ refusal: { code: "frozen-damaged" } });
    delete window.tlFrozenIndex;
    const nowhere = new FrozenSource(() => Promise.reject(new Error("404")));
    await nowhere.start();
    expect(nowhere.entries).toEqual([]);
  });
});

describe("a live source", () => {
  it("answers by id, hears parts, and takes the last", async () => {
    const widget = new ScriptedWidget();
    const source = new LiveSource(widget);
    const parts: OpenAnswer[] = [];
    const first = source.ask(OPEN, forever, (soFar) => parts.push(soFar));
    const second = source.ask({ ask: "identities", model: MODEL, prompt: PROMPT }, forever);
    widget.say({ kind: "done", id: 2, answer: { explain: "", caveats: [], identities: [] } });
    widget.say({ kind: "part", id: 1, answer: opened() });
    widget.say({ kind: "done", id: 1, answer: opened() });
    expect((await second).identities).toEqual([]);
    expect((await first).tokens).toHaveLength(5);
    expect(parts).toHaveLength(1);
    expect(source.models).toEqual([MODEL]);
  });

  it("tells the kernel when an answer is no longer wanted", async () => {
    const widget = new ScriptedWidget();
    const asking = new AbortController();
    const asked = new LiveSource(widget).ask(OPEN, asking.signal);
    asking.abort();
    await expect(asked).rejects.toMatchObject({ name: "AbortError" });
    expect(widget.sent.map(({ kind }) => kind)).toEqual(["ask", "cancel"]);
  });

  it.each([
    ["a refusal", { kind: "refused", id: 1, refusal: { message: "too long; shorten it", code: "E1" } }, "too long; shorten it"],
    ["a refusal without words", { kind: "refused", id: 1, refusal: 4 }, "without saying why"],
    ["another shape", { kind: "done", id: 1, answer: { tokens: 4 } }, "not what the page expects"],
    ["a damaged part", { kind: "part", id: 1, answer: null }, "not what the page expects"],
  ])("turns %s into a sentence", async (_, message, words) => {
    const widget = new ScriptedWidget();
    const asked = new LiveSource(widget).ask(OPEN, forever, () => undefined);
    widget.say({ nonsense: true });
    widget.say(message);
    await expect(asked).rejects.toThrow(words);
  });

  it("refuses everything once the kernel is gone, also what was waiting", async () => {
    const widget = new ScriptedWidget();
    const onLost = vi.fn();
    const source = new LiveSource(widget, onLost);
    const asked = source.ask(OPEN, forever);
    source.lose("The kernel died.");
    await expect(asked).rejects.toMatchObject({ refusal: { code: "kernel-lost" } });
    await expect(source.ask(OPEN, forever)).rejects.toThrow("The kernel died.");
    expect(onLost).toHaveBeenCalledOnce();
  });

  it("knows by a closed comm that the kernel is gone", async () => {
    const widget = new ScriptedWidget();
    widget.isClosed = true;
    const onLost = vi.fn();
    await expect(new LiveSource(widget, onLost).ask(OPEN, forever)).rejects.toMatchObject({ refusal: { code: "kernel-lost" } });
    expect(onLost).toHaveBeenCalledOnce();
  });
});

describe("both together", () => {
  it("ask what is stored first, and a kernel for the rest", async () => {
    const { source: frozen } = frozenWith([[canonical(OPEN), opened()]]);
    await frozen.start();
    const both = new CombinedSource(frozen, () => true);
    await both.ask(OPEN, forever);
    expect(both.whoCan(FLOW)).toBeNull();
    await expect(both.ask(FLOW, forever)).rejects.toThrow("press Go live");
    const widget = new ScriptedWidget();
    both.connect(new LiveSource(widget));
    expect([both.whoCan(OPEN), both.whoCan(FLOW)]).toEqual(["frozen", "live"]);
    void both.ask(OPEN, forever);
    void both.ask(FLOW, forever).catch(() => undefined);
    expect(widget.sent.map((message) => message.kind === "ask" && message.question.ask)).toEqual(["flow"]);
  });

  it("take a kernel's answer where the stored one is damaged", async () => {
    const { source: frozen } = frozenWith([[canonical(OPEN), { tokens: [] }]]);
    await frozen.start();
    const both = new CombinedSource(frozen, () => false);
    await expect(both.ask(OPEN, forever)).rejects.toMatchObject({ refusal: { code: "unexpected-answer" } });
    const widget = new ScriptedWidget();
    both.connect(new LiveSource(widget));
    const asked = both.ask(OPEN, forever);
    await vi.waitFor(() => expect(widget.sent).toHaveLength(1));
    widget.say({ kind: "done", id: 1, answer: opened() });
    expect((await asked).tokens).toHaveLength(5);
  });
});

describe("the shape of answers", () => {
  const wrong = (change: object): unknown => ({ ...opened(), ...change });
  it.each<[string, unknown]>([
    ["no tokens", wrong({ tokens: [] })],
    ["a row too short", wrong({ attn: [[1]] })],
    ["a number that is none", wrong({ stream: [["1"]] })],
    ["guesses missing", wrong({ next: [] })],
  ])("is refused with %s", (_, answer) => {
    expect(() => checked(OPEN as Question & { ask: "open" }, answer)).toThrow("not what the page expects");
  });

  it("takes a long prompt's first part: rows not read yet are empty, and direct effects may be none", () => {
    const { lens } = opened();
    const part = { ...opened(), direct: null, lens: { token: lens.token.map(() => []), p: lens.p.map(() => []), answer: lens.answer.map(() => []) } };
    const answer: Answers["open"] = checked(OPEN as Question & { ask: "open" }, part);
    expect(answer.direct).toBeNull();
  });
});
