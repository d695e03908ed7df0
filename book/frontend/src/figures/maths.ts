// Owns setting formulas that arrive after the page was built: MathJax, loaded when the first of them needs it.

import { loadScript } from "../parts";
import { siteUrl, type PageConfig } from "../page_config";

interface MathJax {
  startup: { promise: Promise<void> };
  typesetPromise(elements: HTMLElement[]): Promise<void>;
}

declare global {
  interface Window {
    MathJax?: MathJax | object;
  }
}

/** What Sphinx' pages know as formulas; live outputs know no other. */
const OPTIONS = { tex: { inlineMath: [["\\(", "\\)"]], displayMath: [["\\[", "\\]"]], processEnvironments: false }, options: {}, startup: { typeset: false } };

let setting: Promise<void> = Promise.resolve();

/** Set the formulas between `\(…\)` and `\[…\]` in `element`; without MathJax they stay as they were typed. */
export function typeset(config: PageConfig, element: HTMLElement): Promise<void> {
  if (!/\\[([]/.test(element.textContent ?? "")) return Promise.resolve();
  setting = setting.then(() => set(config, element)).catch(() => undefined);
  return setting;
}

async function set(config: PageConfig, element: HTMLElement): Promise<void> {
  window.MathJax ??= OPTIONS;
  const isThere = document.querySelector("script[src*='mathjax/math.js']") !== null;
  if (!isThere) await loadScript(siteUrl(config, "_static/vendor/mathjax/math.js"));
  const maths = window.MathJax as Partial<MathJax>;
  await maths.startup?.promise;
  if (element.isConnected) await maths.typesetPromise?.([element]);
}
