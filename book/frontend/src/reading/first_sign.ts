// Owns the moment at which a reader first stirs: what only serves reading on may wait for it, while the page is painted.

const FIRST_SIGNS = ["pointermove", "pointerdown", "keydown", "scroll"] as const;
/** For browsers that do not say when they are idle. */
const IDLE_MS = 100;

/** Call `act` once the reader has stirred and the browser is idle. */
export function onFirstSign(act: () => void, signal: AbortSignal): void {
  const done = new AbortController();
  signal.addEventListener("abort", () => done.abort(), { signal: done.signal });
  const actIdly = (): void => {
    done.abort();
    if ("requestIdleCallback" in window) requestIdleCallback(act);
    else setTimeout(act, IDLE_MS);
  };
  for (const type of FIRST_SIGNS) window.addEventListener(type, actIdly, { signal: done.signal, passive: true, capture: true });
}
