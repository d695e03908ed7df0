// Owns when formulas are set: MathJax is large, so it comes when a formula nears the window or the reader gets going.

import { loadScript } from "../parts";
import { siteUrl, type PageConfig } from "../page_config";

declare global {
  interface Window {
    MathJax?: { startup?: { promise?: Promise<unknown> } };
  }
}

const FORMULA = ".bd-article .math";
const GETTING_GOING = ["scroll", "keydown", "pointerdown"] as const;

/** Load MathJax once; it sets every formula of the page, and the promise waits for that. */
export async function setFormulas(config: PageConfig): Promise<void> {
  await loadScript(siteUrl(config, "_static/vendor/mathjax/math.js"));
  await window.MathJax?.startup?.promise;
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
