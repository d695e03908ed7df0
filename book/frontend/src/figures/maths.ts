// Owns setting formulas that arrive after the page was built: MathJax, loaded when the first of them needs it.
// Refuses formulas whose commands reach beyond mathematics: links, styles, classes, further extensions.

import { loadScript } from "../parts";
import { siteUrl, type PageConfig } from "../page_config";

interface MathJax {
  startup: { promise: Promise<void> };
  typesetPromise(elements: HTMLElement[]): Promise<void>;
}

declare global {
  interface Window {
    MathJax?: MathJax | object;
    tlMathJax?: Promise<void>;
  }
}

const OPTIONS = { startup: { typeset: false } };
const FORMULA = /\\[([]|\\begin\s*\{/;
const REACHES_OUT = /\\(?:href|url|style|class|cssId|data|require|mmlToken|includegraphics|bbox|texttip|mathtip|toggle|action)(?![A-Za-z])/;

/** Whether MathJax may read this text. */
export function isMathematics(text: string): boolean {
  return FORMULA.test(text) && !REACHES_OUT.test(text);
}

let setting: Promise<void> = Promise.resolve();

/** Set the formulas between `\(…\)` and `\[…\]` in `element`; without MathJax they stay as they were typed. */
export function typeset(config: PageConfig, element: HTMLElement): Promise<void> {
  if (!isMathematics(element.textContent ?? "")) return Promise.resolve();
  setting = setting.then(() => set(config, element)).catch(() => undefined);
  return setting;
}

async function set(config: PageConfig, element: HTMLElement): Promise<void> {
  const maths = await loadMathJax(config);
  if (element.isConnected) await maths.typesetPromise?.([element]);
}

/** MathJax, loaded once. It sets nothing by itself: an output that happens to look like a formula is none. */
export async function loadMathJax(config: PageConfig): Promise<Partial<MathJax>> {
  // On the window, because each lazy script has its own copy of this module, and a second MathJax would end both.
  window.tlMathJax ??= load(config).catch((error: unknown) => {
    delete window.tlMathJax;
    throw error;
  });
  await window.tlMathJax;
  return window.MathJax as Partial<MathJax>;
}

async function load(config: PageConfig): Promise<void> {
  window.MathJax ??= OPTIONS;
  await loadScript(siteUrl(config, "_static/vendor/mathjax/math.js"));
  await (window.MathJax as Partial<MathJax>).startup?.promise;
}
