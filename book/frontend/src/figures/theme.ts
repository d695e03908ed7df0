// Owns the page's colour scheme: which one it is, and when it changes.

export type Scheme = "light" | "dark";

export function scheme(): Scheme {
  return document.documentElement.dataset["theme"] === "dark" ? "dark" : "light";
}

/** Call `act` when the page turns light or dark; paper is always light. */
export function onThemeChange(act: () => void, signal: AbortSignal): void {
  const observer = new MutationObserver(act);
  observer.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  signal.addEventListener("abort", () => observer.disconnect());
}

/** Turn the page light while it is printed. */
export function printInLight(signal: AbortSignal): void {
  const root = document.documentElement;
  let onScreen: string | undefined;
  const before = (): void => {
    onScreen = root.dataset["theme"];
    root.dataset["theme"] = "light";
  };
  const after = (): void => {
    if (onScreen !== undefined) root.dataset["theme"] = onScreen;
  };
  window.addEventListener("beforeprint", before, { signal });
  window.addEventListener("afterprint", after, { signal });
}
