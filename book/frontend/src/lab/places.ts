// Owns the places of Labs in a page: what stands there without scripts stays until the Lab's own script has come.

import { el } from "../dom";
import { loadPart, loadStyle, type Host } from "../parts";
import { siteUrl } from "../page_config";

/** Ahead of the place, so that the Lab is there when the reader is. */
const AHEAD = "400px";

export function placeLabs(host: Host, signal: AbortSignal): void {
  const places = document.querySelectorAll<HTMLElement>(".tl-lab[data-lab]");
  if (places.length === 0) return;
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      void show(host, target as HTMLElement, signal);
    }
  }, { rootMargin: AHEAD });
  places.forEach((place) => seen.observe(place));
  signal.addEventListener("abort", () => seen.disconnect());
}

async function show(host: Host, place: HTMLElement, signal: AbortSignal): Promise<void> {
  try {
    const [part] = await Promise.all([loadPart(host.config, "lab"), loadStyle(siteUrl(host.config, "_static/lab.css"))]);
    part.mount(host, place, JSON.parse(place.dataset["lab"] ?? "{}"), signal);
  } catch (error) {
    console.error(error);
    place.prepend(el("p", { class: "tl-notice" }, "The Lab did not load, so this is its still picture. Reload the page to try again."));
  }
}
