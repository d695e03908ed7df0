// Owns a Lab without a shell for tests: a small model's made-up answers, a store, and a host that answers at once.

import { LabRefusal, type AnsweredBy, type AnyAnswer, type Changed, type LabHost, type LabNow, type LabStore, type Marks } from "../src/lab/app_contract";
import type { Answers, Guess, LabState, OpenAnswer, Question } from "../src/lab/contract";
import { nameOf } from "../src/lab/question_words";

export const MODEL = "toy";
export const PROMPT = "The capital of France is";
const SAID = { explain: "What it says in plain words.", caveats: ["One prompt is one prompt."] };
const HALVES = { before: [0.77, 0.06, 0.03], after: [0.12, 0.31, 0.05] } as const;

/** Between -1 and 1, the same for the same place. */
export function noise(a: number, b = 0, c = 0): number {
  const x = Math.sin(a * 12.9898 + b * 78.233 + c * 37.719) * 43758.5453;
  return 2 * (x - Math.floor(x)) - 1;
}

export const grid = (rows: number, columns: number, of: (row: number, column: number) => number): number[][] =>
  Array.from({ length: rows }, (_, row) => Array.from({ length: columns }, (_, column) => of(row, column)));

export function guesses(ps: readonly number[]): Guess[] {
  return [" Paris", " the", " located", " a", " Lyon"].slice(0, ps.length).map((token, id) => ({ token, id, p: ps[id] ?? 0 }));
}

export function opened(prompt = PROMPT, layers = 4, heads = 3): OpenAnswer {
  const words = prompt.split(/(?= )/);
  const facts = { name: MODEL, n_layers: layers, n_heads: heads, d_model: 24, d_head: 8, d_mlp: 48, d_vocab: 100, max_tokens: 256 };
  const rows = (count: number, of: (row: number, column: number) => number): number[][] => grid(count, words.length, of);
  return {
    ...SAID,
    facts,
    tokens: words.map((text, id) => ({ text, id })),
    next: words.map(() => guesses([0.77, 0.06, 0.03, 0.01, 0.004])),
    stream: rows(layers + 1, (layer, pos) => 3 + layer + noise(layer, pos)),
    attn: rows(layers, (layer, pos) => Math.abs(noise(layer, pos, 1))),
    mlp: rows(layers, (layer, pos) => Math.abs(noise(layer, pos, 2))),
    lens: {
      token: Array.from({ length: layers + 1 }, (_, layer) => words.map(() => (layer < layers ? " the" : " Paris"))),
      p: rows(layers + 1, (layer) => 0.1 + (0.6 * layer) / layers),
      answer: rows(layers + 1, (layer) => (0.77 * layer) / layers),
    },
    direct: { head: grid(layers, heads, (layer, head) => noise(layer, head)), mlp: Array.from({ length: layers }, (_, layer) => noise(layer)) },
  };
}

const MOVED = { token: " Paris", clean: guesses(HALVES.before), patched: guesses(HALVES.after), clean_p: 0.77, patched_p: 0.12, clean_logit: 17.2, patched_logit: 14.9, kl_nats: 0.83 };

/** A made-up answer to any question about this model. */
export function answerTo(question: Question, layers = 4, heads = 3): AnyAnswer {
  const words = question.prompt.split(/(?= )/);
  switch (question.ask) {
    case "open":
      return opened(question.prompt, layers, heads);
    case "ablate":
      return { ...SAID, ...MOVED, parts: question.parts, method: question.method, next: words.map(() => ({ token: " the", id: 1, p: 0.31 })), controls: [0.75, 0.79, 0.72] };
    case "head_map":
      return { ...SAID, token: " Paris", effect: grid(layers, heads, (layer, head) => 2.4 * noise(layer, head, 3) ** 3) };
    case "patch":
      return { ...SAID, ...MOVED, recovered: 0.62, corrupted: guesses([0.01, 0.2, 0.1]), against: " Rome", controls: [0.02, 0.11] };
    case "patch_map": {
      const corrupted_tokens = question.corrupted.split(/(?= )/);
      const width = question.over === "head" ? heads : words.length;
      return { ...SAID, over: question.over, tokens: words, corrupted_tokens, answer: " Paris", against: " Rome", recovered: grid(layers, width, (layer, at) => (at === 3 && layer < 2 ? 0.95 : 0.3 * noise(layer, at, 4) ** 2)) };
    }
    case "steer":
      return {
        ...SAID, ...MOVED, layer: question.layer, coef: question.coef, push_norm: 31.2, stream_norm: 88.4, clean_text: " Paris. It is a large city.",
        steered_text: " love, and love is the city of lights.", clean_loss_nats: 1.2, steered_loss_nats: 2.9, random_kl_nats: [0.05, 0.11, 0.08],
      };
    case "lens":
      return {
        ...SAID, kind: question.kind, followed: " Paris", token: Array.from({ length: layers + 1 }, (_, layer) => words.map((_word, at) => (layer + at > layers ? " Paris" : " the"))),
        p: grid(layers + 1, words.length, (layer) => layer / (layers + 1)), followed_p: Array.from({ length: layers + 1 }, (_, layer) => (0.77 * layer) / layers), followed_rank: Array.from({ length: layers + 1 }, (_, layer) => 10 ** (layers - layer)),
      };
    case "heads":
      return { ...SAID, scores: Object.fromEntries(["previous token", "duplicate token", "induction", "first token"].map((kind, index) => [kind, grid(layers, heads, (layer, head) => noise(layer, head, index + 5) ** 4)])) };
    case "compare": {
      const [a, b] = [opened(question.prompt, layers, heads), opened(question.other, layers, heads)];
      const count = Math.min(a.tokens.length, b.tokens.length);
      return { ...SAID, a, b, pairs: Array.from({ length: count }, (_, at) => [at, at] as const), stream: grid(layers + 1, count, (layer, at) => (at < 3 ? 0 : (0.2 * layer) / layers + 0.1)), pattern: grid(layers, heads, (layer, head) => noise(layer, head, 9) ** 2), kl_nats: 3.1 };
    }
    case "code":
      return { ...SAID, dialect: question.dialect, code: `import tlab\n\n# ${question.about.ask}\n`, manifest: '{"call": "ablate"}' };
    case "identities":
      return { ...SAID, identities: [{ name: "attention rows sum to 1", error: 1e-7, bound: 1e-5, holds: true }] };
    default:
      throw new LabRefusal({ message: `“${question.ask}” is not asked here.`, code: "needs-kernel" });
  }
}

class StageStore implements LabStore {
  readonly #listeners = new Set<(now: LabNow, before: LabNow) => void>();
  constructor(public now: LabNow) {}
  subscribe(listener: (now: LabNow, before: LabNow) => void, signal: AbortSignal): void {
    this.#listeners.add(listener);
    signal.addEventListener("abort", () => this.#listeners.delete(listener));
  }
  update(change: Partial<LabNow>): void {
    const before = this.now;
    this.now = { ...before, ...change };
    for (const listener of [...this.#listeners]) listener(this.now, before);
  }
}

export interface Stage extends LabHost {
  /** What the mode marked, changed and said. */
  readonly seen: { marks: Marks | null; changed: Changed | null; announced: string[]; wentLive: number };
}

/** How the stage answers: at once from `answerTo`, or as a test says. */
export interface Staging {
  readonly answer?: (question: Question, signal: AbortSignal, onPart: (soFar: AnyAnswer) => void) => Promise<AnyAnswer>;
  readonly who?: (question: Question) => AnsweredBy | null;
  readonly stored?: readonly Question[];
  readonly now?: Partial<LabNow>;
}

export function stage(staging: Staging = {}, layers = 4, heads = 3): Stage {
  const answer = opened(PROMPT, layers, heads);
  const store = new StageStore({
    baseline: { model: MODEL, prompt: PROMPT, answer },
    opening: { kind: "none" },
    selection: { position: answer.tokens.length - 1, parts: [], place: null },
    mode: "look",
    experiment: { kind: "none" },
    history: [],
    connection: { kind: "live" },
    ...staging.now,
  });
  const seen: Stage["seen"] = { marks: null, changed: null, announced: [], wentLive: 0 };
  const give = staging.answer ?? ((question: Question) => Promise.resolve(answerTo(question, layers, heads)));
  let running = new AbortController();
  const host: Stage = {
    seen,
    store,
    prompts: [PROMPT],
    ask: ((question: Question, signal: AbortSignal, onPart?: (soFar: AnyAnswer) => void) => give(question, signal, onPart ?? (() => undefined))) as LabHost["ask"],
    run: async (question, predicted) => {
      running.abort();
      const mine = (running = new AbortController());
      store.update({ experiment: { kind: "running", question, predicted, soFar: null } });
      try {
        const came = await give(question, mine.signal, (soFar) => store.update({ experiment: { kind: "running", question, predicted, soFar } }));
        if (mine.signal.aborted) return;
        store.update({ experiment: { kind: "done", question, predicted, answer: came, by: "live", took_ms: 120 }, history: [...store.now.history, { name: nameOf(question), question, predicted, answer: came }] });
      } catch (error) {
        if (!mine.signal.aborted) store.update({ experiment: { kind: "failed", question, predicted, refusal: (error as LabRefusal).refusal } });
      }
    },
    cancel: () => {
      running.abort();
      store.update({ experiment: { kind: "none" } });
    },
    whoCan: staging.who ?? (() => "live"),
    frozenQuestions: ((ask: string) => (staging.stored ?? []).filter((question) => question.ask === ask)) as LabHost["frozenQuestions"],
    asked: () => ({ model: MODEL, prompt: store.now.baseline?.prompt ?? PROMPT }),
    select: (change) => store.update({ selection: { ...store.now.selection, ...change } }),
    setMode: (mode) => store.update({ mode, experiment: { kind: "none" } }),
    open: async (model, prompt) => {
      const came = (await give({ ask: "open", model, prompt }, running.signal, () => undefined)) as Answers["open"];
      store.update({ baseline: { model, prompt, answer: came }, experiment: { kind: "none" }, selection: { position: came.tokens.length - 1, parts: [], place: null } });
    },
    restore: async (state: LabState) => {
      await host.open(state.model, state.prompt);
      store.update({ mode: state.mode, history: state.history.map((entry) => ({ ...entry, answer: null })) });
    },
    goLive: () => void (seen.wentLive += 1),
    mark: (marks) => void (seen.marks = marks),
    change: (changed) => void (seen.changed = changed),
    showIdentities: () => undefined,
    term: (name, words = name) => {
      const term = document.createElement("a");
      term.className = "tl-term";
      term.href = `#term-${name}`;
      term.textContent = words;
      return term;
    },
    announce: (text) => void seen.announced.push(text),
  };
  return host;
}

/** Let promises and their listeners run. */
export const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));
