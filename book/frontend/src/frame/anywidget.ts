// Runs inside the isolated frame: one anywidget, on a model whose values are kept in step with the page's by messages.

import type { FromWidget, ToWidget, Values } from "../widgets/bridge";

type Say = (message: FromWidget) => void;
type Callback = (...values: unknown[]) => void;
interface Parts {
  readonly initialize?: (context: object) => unknown;
  readonly render?: (context: object) => unknown;
}

/** The model as an anywidget knows it. */
export class FrameModel {
  readonly #values: Record<string, unknown>;
  readonly #hearers = new Map<string, Set<Callback>>();
  #unsaved: Record<string, unknown> = {};

  constructor(state: Values, private readonly say: Say) {
    this.#values = { ...state };
  }

  get(name: string): unknown {
    return this.#values[name];
  }

  set(name: string | Values, value?: unknown): void {
    const changes = typeof name === "string" ? { [name]: value } : name;
    Object.assign(this.#unsaved, changes);
    this.changed(changes);
  }

  save_changes(): void {
    if (Object.keys(this.#unsaved).length > 0) this.say({ kind: "tl-widget-set", changes: this.#unsaved });
    this.#unsaved = {};
  }

  send(content: unknown, _callbacks?: unknown, buffers: readonly (ArrayBuffer | ArrayBufferView)[] = []): void {
    this.say({ kind: "tl-widget-send", content, buffers: buffers.map(bytesOf) });
  }

  on(names: string, callback: Callback): void {
    for (const name of names.split(/\s+/)) this.#hearers.set(name, (this.#hearers.get(name) ?? new Set()).add(callback));
  }

  off(names?: string | null, callback?: Callback | null): void {
    for (const name of names ? names.split(/\s+/) : [...this.#hearers.keys()]) {
      if (callback) this.#hearers.get(name)?.delete(callback);
      else this.#hearers.delete(name);
    }
  }

  /** New values, from the widget itself or from the page. */
  changed(changes: Values): void {
    const news = Object.entries(changes).filter(([name, value]) => this.#values[name] !== value);
    for (const [name, value] of news) this.#values[name] = value;
    for (const [name, value] of news) this.trigger(`change:${name}`, this, value);
    if (news.length > 0) this.trigger("change", this);
  }

  trigger(name: string, ...values: unknown[]): void {
    for (const callback of [...(this.#hearers.get(name) ?? [])]) callback(...values);
  }
}

export async function startWidget(message: Extract<ToWidget, { kind: "tl-widget" }>, root: HTMLElement, say: Say): Promise<FrameModel> {
  const model = new FrameModel(message.state, say);
  if (message.css !== "") {
    const style = document.createElement("style");
    style.textContent = message.css;
    document.head.append(style);
  }
  const { signal } = new AbortController();
  const experimental = { invoke: (name: string, content: unknown, options?: { buffers?: ArrayBuffer[] }) => invoke(model, name, content, options?.buffers) };
  const parts = await partsOf(message.esm);
  await parts.initialize?.({ model, signal, experimental });
  await parts.render?.({ model, el: root, signal, experimental });
  return model;
}

async function partsOf(code: string): Promise<Parts> {
  const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  try {
    const module = (await import(address)) as Parts & { default?: Parts | (() => Parts | Promise<Parts>) };
    const given = module.default ?? module;
    return typeof given === "function" ? await given() : given;
  } finally {
    URL.revokeObjectURL(address);
  }
}

const ANSWER_TIMEOUT_MS = 30_000;

/** Call a Python method marked with `anywidget.experimental.command`. */
function invoke(model: FrameModel, name: string, content: unknown, buffers: ArrayBuffer[] = []): Promise<[unknown, unknown]> {
  const id = crypto.randomUUID === undefined ? String(Math.random()) : crypto.randomUUID();
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => settle(() => reject(new Error(`${name}: no answer from the kernel`))), ANSWER_TIMEOUT_MS);
    const hear = (answer: unknown, given: unknown): void => {
      const { id: answered, response } = (answer ?? {}) as { id?: unknown; response?: unknown };
      if (answered === id) settle(() => resolve([response, given]));
    };
    const settle = (act: () => void): void => {
      clearTimeout(timer);
      model.off("msg:custom", hear);
      act();
    };
    model.on("msg:custom", hear);
    model.send({ id, kind: "anywidget-command", name, msg: content }, undefined, buffers);
  });
}

function bytesOf(buffer: ArrayBuffer | ArrayBufferView): ArrayBuffer {
  if (buffer instanceof ArrayBuffer) return buffer;
  return buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength) as ArrayBuffer;
}
