// Owns that what scrolls sideways can be reached by keyboard. The theme looks once, when folds are still closed.

const SCROLLABLE = ".bd-article pre, .cell_output .output, .bd-article .katex-display, .pst-scrollable-table-container";

export function reachScrollable(signal: AbortSignal): void {
  // It is told sizes when they are known, also of what a fold or a narrower window brings: asking would cost a layout.
  const sizes = new ResizeObserver((entries) => {
    const areas = entries.map(({ target }) => target as HTMLElement);
    const scrolling = areas.filter((area) => area.tabIndex < 0 && area.scrollWidth > area.clientWidth && getComputedStyle(area).overflowX !== "visible");
    for (const area of scrolling) area.tabIndex = 0;
  });
  for (const area of document.querySelectorAll(SCROLLABLE)) sizes.observe(area);
  signal.addEventListener("abort", () => sizes.disconnect());
}
