// Owns setting formulas that arrive after the page was built: the script that sets them is loaded with the first one.

import { hasFormula } from "../formulas/pieces";
import { loadPart, loadStyle } from "../parts";
import { siteUrl, type PageConfig } from "../page_config";

/** Set the formulas between `\(…\)` and `\[…\]` in `element`; without the script they stay as they were typed. */
export async function typeset(config: PageConfig, element: HTMLElement): Promise<void> {
  if (!hasFormula(element.textContent ?? "")) return;
  try {
    const [part] = await Promise.all([loadPart(config, "formulas"), loadStyle(siteUrl(config, "_static/vendor/katex/katex.css"))]);
    if (element.isConnected) part.typeset(element);
  } catch {
    // The typed formula says the same, less handsomely.
  }
}
