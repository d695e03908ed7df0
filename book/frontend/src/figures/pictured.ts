// Owns a figure's picture, which the build made: it stands in the figure's place until the live figure is drawn over it.

import { el } from "../dom";
import type { Host } from "../parts";
import { onFirstSign } from "../reading/first_sign";
import { bundleFor, loadPlotly, prefetchPlotly } from "./plotly";

/** The place of a picture in an output, if it has one. */
export function pictureIn(output: ParentNode): HTMLElement | null {
  return output.querySelector<HTMLElement>(".tl-picture");
}

/** A pointer that only passes by, as in scrolling, asks for nothing. */
const DWELL_MS = 100;

/** Call `act` when the reader turns to a picture: a pointer rests on it, a finger taps it, the keyboard reaches it. */
export function whenTurnedTo(place: HTMLElement, act: () => void, signal: AbortSignal): void {
  place.tabIndex = 0;
  place.setAttribute("role", "img");
  place.setAttribute("aria-label", place.querySelector("img")?.alt ?? "");
  let resting: ReturnType<typeof setTimeout> | undefined;
  const options = { signal };
  place.addEventListener("pointerenter", ({ pointerType }) => {
    // A finger that lands here may be about to scroll.
    if (pointerType !== "touch") resting = setTimeout(act, DWELL_MS);
  }, options);
  place.addEventListener("pointerleave", () => clearTimeout(resting), options);
  place.addEventListener("click", act, options);
  place.addEventListener("focus", act, options);
  signal.addEventListener("abort", () => clearTimeout(resting));
}

/** Draw the live figure unseen over its picture, and then let it take the place; without it the picture stays. */
export async function enliven(host: Host, place: HTMLElement, figure: unknown, signal: AbortSignal): Promise<void> {
  const live = el("div", { class: "tl-live-layer" });
  place.parentElement?.querySelector(".tl-figure-notice")?.remove();
  place.setAttribute("aria-busy", "true");
  place.append(live);
  try {
    await host.drawFigure(live, figure, signal);
  } catch (error) {
    live.remove();
    place.after(failure(error));
    throw error;
  } finally {
    place.removeAttribute("aria-busy");
  }
  for (const picture of place.querySelectorAll("picture")) picture.remove();
  place.classList.remove("tl-picture");
  place.setAttribute("role", "group");
}

function failure(error: unknown): HTMLElement {
  const reason = error instanceof Error ? error.message : String(error);
  return el("p", { class: "tl-notice tl-figure-notice", role: "status" }, `The figure stays a picture: it could not be drawn (${reason}).`);
}

/** Resolves when the picture that shows in `place` can be printed. */
export async function pictureLoaded(place: HTMLElement): Promise<void> {
  const shown = [...place.querySelectorAll("img")].filter((image) => image.getClientRects().length > 0);
  for (const image of shown) image.loading = "eager";
  await Promise.all(shown.map((image) => image.decode().catch(() => undefined)));
}

/** The figure that an output stores. */
export function storedFigure(output: Element): unknown {
  return JSON.parse(output.querySelector("script")?.textContent ?? "null");
}

/** A run is about to draw figures anew: have plotly here by then. */
export function expectFigures(host: Pick<Host, "config">, stored: ParentNode): void {
  for (const bundle of bundlesOf(stored)) void loadPlotly(host.config, bundle).catch(() => undefined);
}

function bundlesOf(root: ParentNode): ReadonlySet<ReturnType<typeof bundleFor>> {
  const outputs = [...root.querySelectorAll(".tl-output")].filter(pictureIn);
  return new Set(outputs.map((output) => bundleFor(storedFigure(output))));
}

/** Fetch what the pictures may need once the reader has stirred; never for one who saves data. */
export function prefetchInTime(host: Pick<Host, "config">, signal: AbortSignal): void {
  const { connection } = navigator as { connection?: { saveData?: boolean } };
  // From a file there is nothing to wait for.
  if (connection?.saveData === true || location.protocol === "file:") return;
  onFirstSign(() => bundlesOf(document).forEach((bundle) => prefetchPlotly(host.config, bundle)), signal);
}
