// Owns bringing stored outputs to life: near the viewport, or where they have a picture when the reader turns to it.

import type { MimeBundle } from "../live/contract";
import { loadPart, type Host } from "../parts";
import { enliven, pictureIn, pictureLoaded, prefetchInTime, storedFigure, whenTurnedTo } from "./pictured";
import { figureView, frameView } from "./views";

declare global {
  interface Window {
    /** Bring every stored output to life, those with a picture too unless it will do; resolves when all are drawn. */
    tlHydrateAll?: (options?: HydrateOptions) => Promise<void>;
  }
}

export interface HydrateOptions {
  /** For print: a figure that has a picture is shown by it. */
  readonly picturesWillDo?: boolean;
}

export class StoredOutputs {
  readonly #drawing = new Map<HTMLElement, Promise<void>>();
  readonly #elements: readonly HTMLElement[];

  constructor(private readonly host: Host, private readonly signal: AbortSignal) {
    this.#elements = [...document.querySelectorAll<HTMLElement>(".tl-output")];
    window.tlHydrateAll = (options) => this.hydrateAll(options);
    window.addEventListener("beforeprint", () => void this.hydrateAll({ picturesWillDo: true }), { signal });
    this.#watch();
  }

  async hydrateAll({ picturesWillDo = false }: HydrateOptions = {}): Promise<void> {
    await Promise.all(
      this.#elements.map((element) => {
        const picture = picturesWillDo ? pictureIn(element) : null;
        return picture ? pictureLoaded(picture) : this.#hydrate(element);
      }),
    );
    await Promise.all([...document.querySelectorAll("iframe.tl-isolated")].map((frame) => whenSized(frame)));
  }

  #watch(): void {
    const observer = new IntersectionObserver(
      (entries) => {
        for (const { isIntersecting, target } of entries) {
          if (!isIntersecting || !(target instanceof HTMLElement)) continue;
          observer.unobserve(target);
          void this.#hydrate(target);
        }
      },
      { rootMargin: "400px" },
    );
    this.signal.addEventListener("abort", () => observer.disconnect());
    let hasPictures = false;
    for (const element of this.#elements) {
      const picture = pictureIn(element);
      if (!picture) observer.observe(element);
      else whenTurnedTo(picture, () => void this.#hydrate(element), this.signal);
      hasPictures ||= picture !== null;
    }
    if (hasPictures) prefetchInTime(this.host, this.signal);
  }

  #hydrate(element: HTMLElement): Promise<void> {
    const known = this.#drawing.get(element);
    if (known) return known;
    const picture = pictureIn(element);
    const drawing = picture ? this.#enliven(element, picture) : hydrate(this.host, element, this.signal);
    this.#drawing.set(element, drawing);
    return drawing;
  }

  /** What fails shows why and may be tried again: the server may be back by then. */
  async #enliven(element: HTMLElement, picture: HTMLElement): Promise<void> {
    try {
      await enliven(this.host, picture, storedFigure(element), this.signal);
      element.dataset["hydrated"] = "true";
    } catch {
      this.#drawing.delete(element);
    }
  }
}

async function hydrate(host: Host, element: HTMLElement, signal: AbortSignal): Promise<void> {
  const twin = element.querySelector(".tl-twin")?.textContent ?? "";
  const payload = storedFigure(element);
  const mime = element.dataset["mime"];
  if (mime === "application/vnd.plotly.v1+json") await figureView(host, element, payload, twin, signal);
  else if (mime === "text/html" && typeof payload === "string") frameView(host, element, payload, twin, signal);
  else if (mime !== undefined && DRAWN_LIVE.has(mime)) await showStored(host, element, { [mime]: payload, "text/plain": twin }, signal);
  else return;
  element.dataset["hydrated"] = "true";
}

/** What the live part draws, which is loaded for it also without a kernel. */
const DRAWN_LIVE = new Set(["application/vnd.tlab.grid+json", "application/vnd.jupyter.widget-view+json", "text/markdown"]);

async function showStored(host: Host, element: HTMLElement, bundle: MimeBundle, signal: AbortSignal): Promise<void> {
  const before = [...element.childNodes];
  try {
    const live = await loadPart(host.config, "live");
    await live.showStored(host, element, bundle, signal);
  } catch {
    // Its text is in the page already, and stays readable.
    element.replaceChildren(...before);
  }
}

const SIZE_TIMEOUT_MS = 10_000;

/** A frame has drawn when it has said how high it is; one that never does must not hold up a print. */
function whenSized(frame: Element): Promise<void> {
  const isSized = (): boolean => frame instanceof HTMLElement && frame.style.height !== "";
  if (isSized()) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      observer.disconnect();
      clearTimeout(timer);
      resolve();
    };
    const observer = new MutationObserver(() => isSized() && done());
    const timer = setTimeout(done, SIZE_TIMEOUT_MS);
    observer.observe(frame, { attributes: true, attributeFilter: ["style"] });
  });
}
