// Owns when the outputs of a run take the place of what was shown: with their first event. It draws nothing itself.

import type { CellOutputs, OutputEvent } from "../live/contract";

export class LiveOutputs {
  #isShown = false;

  constructor(
    private readonly outputs: CellOutputs,
    private readonly show: () => void,
    private readonly onFirstDrawn: () => void,
    private readonly signal: AbortSignal,
  ) {}

  handle(event: OutputEvent): void {
    if (this.signal.aborted) return;
    if (!this.#isShown && event.kind !== "clear") this.#reveal();
    this.outputs.handle(event);
  }

  /** Everything is drawn; a run without outputs leaves an empty place, not the old output. */
  async finish(): Promise<void> {
    await this.outputs.drawn();
    if (!this.#isShown && !this.signal.aborted) this.show();
  }

  #reveal(): void {
    this.#isShown = true;
    this.show();
    queueMicrotask(() => {
      void this.outputs.drawn().then(() => {
        if (!this.signal.aborted) this.onFirstDrawn();
      });
    });
  }
}
