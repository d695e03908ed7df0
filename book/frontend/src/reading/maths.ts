// Owns when formulas are set: MathJax is large, so it comes when a formula nears the window or the reader gets going.

import { loadMathJax } from "../figures/maths";
import type { PageConfig } from "../page_config";

const FORMULA = ".bd-article .math";
/** Live outputs are read and judged where they are drawn. */
const LIVE = ".tl-slot";
const GETTING_GOING = ["scroll", "keydown", "pointerdown"] as const;

let setting: Promise<void> | null = null;

/** Set every formula of the page, once; the promise waits for that. A failed load may be tried again. */
export function setFormulas(config: PageConfig): Promise<void> {
  setting ??= set(config).catch((error: unknown) => {
    setting = null;
    throw error;
  });
  return setting;
}

async function set(config: PageConfig): Promise<void> {
  const maths = await loadMathJax(config);
  const formulas = [...document.querySelectorAll<HTMLElement>(FORMULA)].filter((formula) => !formula.closest(LIVE));
  await maths.typesetPromise?.(formulas);
}

export function setFormulasInTime(config: PageConfig, signal: AbortSignal): void {
  const formulas = [...document.querySelectorAll(FORMULA)];
  if (formulas.length === 0) return;
  const done = new AbortController();
  signal.addEventListener("abort", () => done.abort(), { signal: done.signal });
  const set = (): void => {
    done.abort();
    // Without MathJax a reader still sees the TeX.
    void setFormulas(config).catch(() => undefined);
  };
  const observer = new IntersectionObserver((entries) => entries.some(({ isIntersecting }) => isIntersecting) && set(), { rootMargin: "300px" });
  for (const formula of formulas) observer.observe(formula);
  done.signal.addEventListener("abort", () => observer.disconnect());
  for (const type of GETTING_GOING) window.addEventListener(type, set, { signal: done.signal, passive: true, capture: true });
  window.addEventListener("beforeprint", set, { signal: done.signal });
  alsoWhenHydrating(() => setFormulas(config));
}

/** What prints or checks a page waits for its outputs, and now for its formulas too. */
function alsoWhenHydrating(set: () => Promise<void>): void {
  const outputs = window.tlHydrateAll;
  window.tlHydrateAll = async () => {
    await Promise.all([outputs?.(), set()]);
  };
}
