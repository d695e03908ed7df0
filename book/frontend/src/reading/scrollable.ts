// Owns that what scrolls sideways can be reached by keyboard. The theme looks once, when folds are still closed.

const SCROLLABLE = ".bd-article pre, .cell_output .output, .bd-article .katex-display, .pst-scrollable-table-container";
/** What an idle browser must have left for one more look. */
const LOOK_MS = 5;

export function reachScrollable(signal: AbortSignal): void {
  const areas = [...document.querySelectorAll<HTMLElement>(SCROLLABLE)];
  // It is told sizes when they are known, also of what a fold or a narrower window brings: asking would cost a layout.
  const sizes = new ResizeObserver((entries) => {
    const scrolling = entries.map(({ target }) => target as HTMLElement).filter(isUnreached);
    for (const area of scrolling) area.tabIndex = 0;
  });
  for (const area of areas) sizes.observe(area);
  signal.addEventListener("abort", () => sizes.disconnect());
  lookIdly(areas.filter((area) => area.closest("dd")), signal);
}

/** Definitions out of view have no size that anybody tells: each is asked when there is nothing else to do. */
function lookIdly(areas: HTMLElement[], signal: AbortSignal): void {
  window.requestIdleCallback?.((deadline) => {
    while (areas.length > 0 && deadline.timeRemaining() > LOOK_MS) {
      const area = areas.pop();
      if (area && isUnreached(area)) area.tabIndex = 0;
    }
    if (areas.length > 0 && !signal.aborted) lookIdly(areas, signal);
  });
}

function isUnreached(area: HTMLElement): boolean {
  return area.tabIndex < 0 && area.scrollWidth > area.clientWidth && getComputedStyle(area).overflowX !== "visible";
}
