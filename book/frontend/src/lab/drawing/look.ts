// Owns when a canvas has to be drawn again: another width, another theme, another resolution.

export function watchLook(place: Element, draw: () => void, signal: AbortSignal): void {
  let isDue = false;
  const later = (): void => {
    if (isDue || signal.aborted) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      if (!signal.aborted) draw();
    });
  };
  const sizes = new ResizeObserver(later);
  sizes.observe(place);
  const themes = new MutationObserver(later);
  themes.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme", "data-jp-theme-light", "class"] });
  themes.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "class"] });
  window.matchMedia?.("(prefers-color-scheme: dark)").addEventListener("change", later, { signal });
  signal.addEventListener("abort", () => {
    sizes.disconnect();
    themes.disconnect();
  });
}
