// Owns answers from a kernel, by the custom messages of an anywidget's model. What comes back is data, checked here.

import { LabRefusal } from "../app_contract";
import type { Answers, FromKernel, Question, Refusal, Source, ToKernel } from "../contract";
import { checked } from "./checked";
import { isObject, number, record, text, type Shape } from "./shapes";

/** What the Lab needs of a widget's model; anywidget's and ipywidgets' both have it. */
export interface WidgetModel {
  get(name: string): unknown;
  send(content: ToKernel): void;
  on(event: "msg:custom", hear: (content: unknown) => void): void;
  off(event: "msg:custom", hear: (content: unknown) => void): void;
}

interface Waiting {
  part(raw: unknown): void;
  done(raw: unknown): void;
  fail(error: unknown): void;
}

const REFUSED = record({ id: number, refusal: record({ message: text, code: text }) });
const ANSWERED: Shape = record({ id: number });

export class LiveSource implements Source {
  readonly kind = "live";
  #next = 1;
  readonly #waiting = new Map<number, Waiting>();
  #lost: string | null = null;

  constructor(private readonly model: WidgetModel, private readonly onLost: (reason: string) => void = () => undefined) {
    model.on("msg:custom", this.#hear);
  }

  get isAlive(): boolean {
    return this.#lost === null;
  }

  get models(): readonly string[] {
    const names = this.model.get("models");
    return Array.isArray(names) ? names.filter((name): name is string => typeof name === "string") : [];
  }

  can(): boolean {
    return this.isAlive;
  }

  ask<Q extends Question>(question: Q, signal: AbortSignal, onPart?: (soFar: Answers[Q["ask"]]) => void): Promise<Answers[Q["ask"]]> {
    if (this.#lost !== null) return Promise.reject(gone(this.#lost));
    if (signal.aborted) return Promise.reject(signal.reason as Error);
    const first = this.#first(question);
    if (first) return first;
    const id = this.#next;
    this.#next += 1;
    return new Promise((resolve, reject) => {
      const cancel = (): void => {
        this.#waiting.delete(id);
        this.#send({ kind: "cancel", id });
        reject(signal.reason as Error);
      };
      const end = (act: () => void): void => {
        signal.removeEventListener("abort", cancel);
        this.#waiting.delete(id);
        try {
          act();
        } catch (error) {
          reject(error as Error);
        }
      };
      signal.addEventListener("abort", cancel);
      this.#waiting.set(id, {
        part: (raw) => onPart?.(checked(question, raw)),
        done: (raw) => end(() => resolve(checked(question, raw))),
        fail: (error) => end(() => reject(error as Error)),
      });
      this.#send({ kind: "ask", id, question });
    });
  }

  /** The first answer may have come along with the widget. */
  #first<Q extends Question>(question: Q): Promise<Answers[Q["ask"]]> | null {
    const [opened, state] = [this.model.get("opened"), this.model.get("state")];
    if (question.ask !== "open" || !isObject(opened) || !isObject(state) || !Object.hasOwn(opened, "tokens")) return null;
    if (state["model"] !== question.model || state["prompt"] !== question.prompt) return null;
    return new Promise((resolve) => resolve(checked(question, opened)));
  }

  /** The kernel is gone: whoever waits hears so, and nothing is asked any more. */
  lose(reason: string): void {
    if (this.#lost !== null) return;
    this.#lost = reason;
    this.model.off("msg:custom", this.#hear);
    for (const waiting of [...this.#waiting.values()]) waiting.fail(gone(reason));
    this.onLost(reason);
  }

  #send(message: ToKernel): void {
    try {
      this.model.send(message);
    } catch {
      this.lose("The connection to the kernel is closed.");
    }
  }

  readonly #hear = (raw: unknown): void => {
    if (!isObject(raw) || ANSWERED(raw, "message") !== null) return;
    const message = raw as unknown as FromKernel;
    const waiting = this.#waiting.get(message.id);
    if (!waiting) return;
    if (message.kind === "done") return waiting.done(message.answer);
    if (message.kind === "refused") return waiting.fail(new LabRefusal(refusalOf(raw)));
    if (message.kind !== "part") return;
    try {
      waiting.part(message.answer);
    } catch (error) {
      waiting.fail(error);
    }
  };
}

function refusalOf(raw: Record<string, unknown>): Refusal {
  if (REFUSED(raw, "message") === null) return raw["refusal"] as Refusal;
  return { message: "The kernel refused this without saying why. Try again, or another prompt.", code: "unexpected-answer" };
}

function gone(reason: string): LabRefusal {
  return new LabRefusal({ message: `${reason} What is stored stays; reconnect to compute more.`, code: "kernel-lost" });
}
