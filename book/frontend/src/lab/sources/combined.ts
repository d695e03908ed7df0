// Owns who answers: what is stored comes first, a kernel where that does not suffice, and a sentence where neither can.

import { LabRefusal, type AnsweredBy } from "../app_contract";
import type { Answers, Question } from "../contract";
import type { FrozenSource } from "./frozen";
import type { LiveSource } from "./live";

export class CombinedSource {
  #live: LiveSource | null = null;

  constructor(readonly frozen: FrozenSource | null, private readonly canStart: () => boolean) {}

  get live(): LiveSource | null {
    return this.#live?.isAlive ? this.#live : null;
  }

  connect(live: LiveSource): void {
    this.#live = live;
  }

  whoCan(question: Question): AnsweredBy | null {
    if (this.frozen?.can(question)) return "frozen";
    return this.live ? "live" : null;
  }

  async ask<Q extends Question>(question: Q, signal: AbortSignal, onPart?: (soFar: Answers[Q["ask"]]) => void): Promise<Answers[Q["ask"]]> {
    if (this.frozen?.can(question)) {
      try {
        return await this.frozen.ask(question, signal);
      } catch (error) {
        // A file that is missing or damaged costs nothing while a kernel can answer.
        if (signal.aborted || !this.live) throw error;
      }
    }
    if (this.live) return this.live.ask(question, signal, onPart);
    throw new LabRefusal({ message: this.#needs(question), code: "needs-kernel" });
  }

  #needs({ ask }: Question): string {
    const what = ask === "open" ? "This prompt was not computed ahead" : "This was not computed ahead";
    if (this.canStart()) return `${what}: press Go live, and a kernel computes it now.`;
    return `${what}, and there is no kernel here. Choose one of the examples, or start the book with \`python3 noxfile.py serve\` and come back.`;
  }
}
