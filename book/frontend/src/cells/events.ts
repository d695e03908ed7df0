// Owns the events that tests and benchmarks listen for on the document. Nothing in the book depends on them.

export type RunMoment = "start" | "first-output" | "done";

export function announce(moment: RunMoment, cellIndex: number, startedAt_ms: number): void {
  const detail = { cellIndex, elapsedMs: performance.now() - startedAt_ms };
  document.dispatchEvent(new CustomEvent(`tl:run-${moment}`, { detail }));
}
