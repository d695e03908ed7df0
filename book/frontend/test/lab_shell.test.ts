// The Lab as a whole, over a scripted kernel: prompts, positions, parts, keys, and what stays when something fails.

import { beforeEach, describe, expect, it, vi } from "vitest";
import { el } from "../src/dom";
import type { ToKernel } from "../src/lab/contract";
import type { Lab } from "../src/lab/host";
import { mountLab } from "../src/lab/shell/shell";
import type { WidgetModel } from "../src/lab/sources/live";
import { parseState } from "../src/lab/state";
import { answerTo, MODEL, PROMPT } from "./lab_stage";

/** Answers at once, but for prompts with "!!", which it refuses, and those with "??", which it never answers. */
class AnsweringWidget implements WidgetModel {
  readonly asked: ToKernel[] = [];
  #hear: ((content: unknown) => void) | null = null;

  get(name: string): unknown {
    return name === "models" ? [MODEL] : undefined;
  }
  send(content: ToKernel): void {
    this.asked.push(content);
    if (content.kind === "cancel" || content.question.prompt.includes("??")) return;
    const { id, question } = content;
    const refusal = { message: "the prompt is too long: expected at most 256 tokens, got 300; shorten it", code: "TooLong" };
    const say = question.prompt.includes("!!") ? { kind: "refused", id, refusal } : { kind: "done", id, answer: replyTo(question) };
    queueMicrotask(() => this.#hear?.(say));
  }
  on(_: "msg:custom", hear: (content: unknown) => void): void {
    this.#hear = hear;
  }
  off(): void {
    this.#hear = null;
  }
}

function replyTo(question: Extract<ToKernel, { kind: "ask" }>["question"]): unknown {
  const said = { explain: "", caveats: [] };
  if (question.ask === "flow") return { ...said, position: question.position, weight: [[1], [1], [1], [1]], head: [[0], [0], [0], [0]] };
  if (question.ask === "part") return { ...said, kind: "stream", part: question.part, position: question.position, reading: "lens", norms: [1], effects: [{ token: " Paris", effect: 3 }] };
  if (question.ask !== "identities") return answerTo(question);
  return { ...said, identities: [{ name: "rows sum to one", error: 2e-7, bound: 1e-5, holds: true }, { name: "parts sum to the logit", error: 0.2, bound: 1e-2, holds: false }] };
}

let place: HTMLElement;
let widget: AnsweringWidget;
let gone: AbortController;

beforeEach(() => {
  vi.stubGlobal("ResizeObserver", class { observe(): void {} disconnect(): void {} });
  HTMLCanvasElement.prototype.getContext = () => null;
  place = el("div");
  document.body.replaceChildren(place);
  widget = new AnsweringWidget();
  gone = new AbortController();
});

async function open(state = {}, startKernel: (() => Promise<WidgetModel>) | null = null): Promise<Lab> {
  const surroundings = { loadFrozen: null, widget, startKernel, term: (_: string, words: string) => el("span", {}, words) };
  const lab = mountLab(place, surroundings, { prompt: PROMPT, model: MODEL, ...state }, gone.signal);
  await vi.waitFor(() => expect(place.querySelector(".lab")?.getAttribute("data-state")).toBe("open"));
  return lab;
}

const find = <E extends HTMLElement>(selector: string): E => {
  const found = place.querySelector<E>(selector);
  if (!found) throw new Error(`nothing matches ${selector}`);
  return found;
};

describe("a prompt", () => {
  it("appears as chips, with what is expected after each", async () => {
    await open();
    const chips = [...place.querySelectorAll(".lab-position")];
    expect(chips.map((chip) => chip.querySelector(".lab-token")?.textContent)).toEqual(["The", "␣capital", "␣of", "␣France", "␣is"]);
    expect(find("[aria-checked=true]").getAttribute("aria-label")).toBe("␣is: position 4, then ␣Paris with 77%");
  });

  it("that is refused leaves the run before, and says why", async () => {
    const lab = await open();
    await lab.open(MODEL, "far too long !!");
    expect(lab.store.now.baseline?.prompt).toBe(PROMPT);
    expect(find(".lab-problem").textContent).toContain("expected at most 256 tokens, got 300; shorten it");
    expect(find(".lab-problem").textContent).toContain("still the run before");
  });

  it("that is empty is not even asked", async () => {
    const lab = await open();
    const before = widget.asked.length;
    await lab.open(MODEL, "");
    expect(widget.asked).toHaveLength(before);
    expect(find(".lab-problem").textContent).toContain("type at least one letter");
  });

  it("asked while another is on its way takes its place", async () => {
    const lab = await open();
    void lab.open(MODEL, "never answered ??");
    await lab.open(MODEL, "The sky is");
    expect(lab.store.now.baseline?.prompt).toBe("The sky is");
    expect(widget.asked.some(({ kind }) => kind === "cancel")).toBe(true);
  });

  it("with markup stays text", async () => {
    const lab = await open();
    await lab.open(MODEL, "<img src=x onerror=alert(1)> is");
    expect(place.querySelector("img")).toBeNull();
    expect(find(".lab-position").textContent).toContain("<img");
  });
});

describe("what is chosen", () => {
  it("is a position, by click and by key", async () => {
    const lab = await open();
    find("[data-position='1']").click();
    expect(lab.store.now.selection.position).toBe(1);
    find("[data-position='1']").focus();
    find(".lab-tokens").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
    expect(lab.store.now.selection.position).toBe(2);
    expect(document.activeElement).toBe(find("[data-position='2']"));
    expect(find(".lab-prediction").textContent).toContain("␣of");
  });

  it("never lies outside the prompt", async () => {
    const lab = await open();
    lab.select({ position: 99 });
    expect(lab.store.now.selection.position).toBe(4);
    lab.select({ position: -3 });
    expect(lab.store.now.selection.position).toBe(0);
  });

  it("is looked into, with the run's name beside it", async () => {
    const lab = await open({ part: "L1" });
    await vi.waitFor(() => expect(find(".lab-mode").textContent).toContain("The stream after block 1"));
    expect(find(".lab-mode [data-run]").textContent).toContain("clean run");
    expect(lab.store.now.selection.parts).toEqual(["L1"]);
  });
});

describe("the picture", () => {
  it("has a name, a sentence and a table that say what it shows", async () => {
    await open();
    const label = find(".lab-pipe-window").getAttribute("aria-label") ?? "";
    expect(label).toContain("the model expects ␣Paris with 77%");
    expect(label).toContain("Arrow keys");
    const details = find<HTMLDetailsElement>(".lab-pipeline details");
    details.open = true;
    details.dispatchEvent(new Event("toggle"));
    expect(details.querySelectorAll("tbody tr")).toHaveLength(5);
  });
});

describe("what must hold", () => {
  it("is said with a sign, a word and numbers, also when it fails", async () => {
    await open();
    await vi.waitFor(() => expect(place.querySelectorAll("[data-holds]")).toHaveLength(2));
    expect(find("[data-holds=true]").textContent).toContain("✓ holds");
    expect(find("[data-holds=false]").textContent).toContain("✗ fails");
    expect(find("[data-holds=false]").textContent).toContain("off by 0.200, at most 0.010");
  });
});

describe("an experiment", () => {
  it("stands in the history with its prediction, and leaves the clean run alone", async () => {
    const lab = await open();
    const before = lab.store.now.baseline;
    await lab.run({ ask: "ablate", ...lab.asked(), parts: ["L1H1"], method: "zero", seed: 0 }, "it falls");
    expect(lab.store.now.experiment).toMatchObject({ kind: "done", predicted: "it falls", by: "live" });
    expect(lab.store.now.history).toMatchObject([{ name: "L1H1 off (zero)", predicted: "it falls" }]);
    expect(lab.store.now.baseline).toBe(before);
  });

  it("goes with its mode", async () => {
    const lab = await open();
    await lab.run({ ask: "head_map", ...lab.asked(), method: "zero", seed: 0 }, "");
    lab.setMode("lens");
    expect(lab.store.now.experiment.kind).toBe("none");
    expect(lab.store.now.history).toHaveLength(1);
  });
});

describe("a lost kernel", () => {
  it("leaves everything on the page, says so, and can be had again", async () => {
    const second = new AnsweringWidget();
    const lab = await open({}, () => Promise.resolve(second));
    lab.lose("The kernel behind this Lab is gone.");
    expect(find(".lab-connection").textContent).toContain("Kernel lost");
    expect(place.querySelectorAll(".lab-position")).toHaveLength(5);
    find(".lab-connection button").click();
    await vi.waitFor(() => expect(lab.store.now.connection.kind).toBe("live"));
    await lab.open(MODEL, "The sky is");
    expect(second.asked.length).toBeGreaterThan(0);
  });
});

describe("a state from outside", () => {
  it("keeps what is sound and drops the rest", () => {
    const question = { ask: "head_map", model: "m", prompt: "p", method: "zero", seed: 0 };
    const raw = { model: "m", prompt: 4, mode: "fly", position: 1.5, part: "L1", history: [{ name: "a", predicted: "", question }, { name: "b" }, 3] };
    expect(parseState(raw)).toEqual({ model: "m", part: "L1", history: [{ name: "a", predicted: "", question }] });
    expect(parseState("nonsense")).toEqual({});
  });
});
