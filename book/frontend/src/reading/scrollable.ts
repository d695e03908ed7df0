// Owns that what scrolls sideways can be reached by keyboard. The theme looks once, when folds are still closed.

const SCROLLABLE = ".bd-article pre, .cell_output .output, .bd-article .katex-display, .pst-scrollable-table-container";

export function reachScrollable(signal: AbortSignal): void {
  let isDue = false;
  const look = (): void => {
    isDue = false;
    // All are measured before the first is changed: a change between would lay the page out anew for each.
    const unreached = [...document.querySelectorAll<HTMLElement>(SCROLLABLE)].filter((area) => !area.hasAttribute("tabindex"));
    const scrolling = unreached.filter((area) => area.scrollWidth > area.clientWidth && getComputedStyle(area).overflowX !== "visible");
    for (const area of scrolling) area.tabIndex = 0;
  };
  const later = (): void => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(look);
  };
  // A fold tells nobody above it that it opened: its event has to be caught on the way down.
  document.addEventListener("toggle", later, { signal, capture: true });
  window.addEventListener("resize", later, { signal });
  if (document.readyState === "complete") later();
  else window.addEventListener("load", later, { signal });
}
