// Owns when the theme's own scripts start: they measure the whole page, so they wait until the reader first stirs.

import { loadScript } from "../parts";
import { onFirstSign } from "./first_sign";

/** What those scripts make work: the choice of light or dark, and the two contents of a narrow window. */
const THEIRS = ".theme-switch-button, .sidebar-toggle";

/** Load them, in their order, with the first sign; a press that comes sooner is pressed again when they are there. */
export function startTheme(signal: AbortSignal): void {
  const place = document.querySelector<HTMLTemplateElement>("#tl-theme-scripts");
  // The addresses are relative to this page, and an inert script would take them for those of another.
  const addresses = [...(place?.content.querySelectorAll("script") ?? [])].map((script) => script.getAttribute("src") ?? "");
  if (addresses.length === 0) return;
  const early = new AbortController();
  let loading: Promise<void> | null = null;
  const load = async (): Promise<void> => {
    try {
      await (loading ??= inOrder(addresses));
      early.abort();
    } catch {
      loading = null; // The next press tries again; reading goes on without.
    }
  };
  const pressed = (event: Event): void => {
    const button = event.target instanceof Element ? event.target.closest<HTMLElement>(THEIRS) : null;
    if (!button) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    void load().then(() => early.signal.aborted && button.click());
  };
  window.addEventListener("click", pressed, { capture: true, signal: AbortSignal.any([signal, early.signal]) });
  onFirstSign(() => void load(), signal);
}

async function inOrder(addresses: readonly string[]): Promise<void> {
  for (const address of addresses) await loadScript(address);
}
