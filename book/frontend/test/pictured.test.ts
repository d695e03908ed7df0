import { beforeEach, describe, expect, test, vi } from "vitest";
import { enliven, pictureIn, prefetchInTime, whenTurnedTo } from "../src/figures/pictured";
import { bundleFor, CARTESIAN_TRACES } from "../src/figures/plotly";
import { StoredOutputs } from "../src/figures/stored";
import type { Host } from "../src/parts";

const FIGURE = { data: [{ type: "bar", y: [1] }] };
const OUTPUT = `
  <div class="tl-output" data-mime="application/vnd.plotly.v1+json">
    <script type="application/json">${JSON.stringify(FIGURE)}</script>
    <div class="tl-figure tl-picture" style="height:300px">
      <picture class="tl-in-light"><img src="a.svg" alt="Interactive figure: Bars"></picture>
      <picture class="tl-in-dark"><img src="b.svg" alt="Interactive figure: Bars"></picture>
    </div>
    <details class="tl-twin-details"><pre class="tl-twin">bars</pre></details>
  </div>`;

let drawn: { target: HTMLElement; figure: unknown }[];
let refusal: Error | null;
let until: Promise<void>;
let end: AbortController;
const host = {
  config: { page: "", root: "", live: false, chat: false },
  drawFigure: async (target: HTMLElement, figure: unknown) => {
    await until;
    if (refusal) throw refusal;
    drawn.push({ target, figure });
    target.append("alive");
  },
} as unknown as Host;

function place(): HTMLElement {
  const found = document.querySelector<HTMLElement>(".tl-figure");
  if (!found) throw new Error("the page has no figure");
  return found;
}

function point(type: string, pointerType: string): void {
  place().dispatchEvent(Object.assign(new Event(type), { pointerType }));
}

const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

beforeEach(() => {
  end?.abort();
  end = new AbortController();
  drawn = [];
  refusal = null;
  until = Promise.resolve();
  document.head.replaceChildren();
  document.body.innerHTML = OUTPUT;
  vi.stubGlobal("IntersectionObserver", class {
    observe(): void {
      throw new Error("a figure with a picture is not drawn for coming into view");
    }
    disconnect(): void {}
  });
});

describe("a picture", () => {
  test("is a place that the keyboard reaches, with the figure's name", () => {
    new StoredOutputs(host, end.signal);
    expect(place().tabIndex).toBe(0);
    expect(place().getAttribute("aria-label")).toBe("Interactive figure: Bars");
    expect(drawn).toEqual([]);
  });

  test.each(["focus", "click"])("gives way to the live figure on %s, once", async (type) => {
    new StoredOutputs(host, end.signal);
    place().dispatchEvent(new Event(type));
    place().dispatchEvent(new Event(type));
    await settled();
    expect(drawn.map(({ figure }) => figure)).toEqual([FIGURE]);
    expect(place().classList.contains("tl-picture")).toBe(false);
    expect(document.querySelector("picture")).toBeNull();
    expect(document.querySelector(".tl-twin")?.textContent).toBe("bars");
  });

  test("stays until the live figure is drawn over it", async () => {
    let go = (): void => undefined;
    until = new Promise((resolve) => (go = resolve));
    const done = enliven(host, place(), FIGURE, end.signal);
    expect(document.querySelectorAll("picture")).toHaveLength(2);
    expect(place().getAttribute("aria-busy")).toBe("true");
    go();
    await done;
    expect(document.querySelectorAll("picture")).toHaveLength(0);
    expect(place().hasAttribute("aria-busy")).toBe(false);
  });

  test("stays with the reason when the live figure fails, and may be tried again", async () => {
    refusal = new Error("the server is away");
    new StoredOutputs(host, end.signal);
    place().click();
    await settled();
    expect(document.body.textContent).toContain("the server is away");
    expect(document.querySelectorAll("picture")).toHaveLength(2);
    refusal = null;
    place().click();
    await settled();
    expect(drawn).toHaveLength(1);
    expect(document.body.textContent).not.toContain("the server is away");
  });
});

describe("turning to a picture", () => {
  test("is a pointer that rests, not one that passes, and not a finger that scrolls", () => {
    vi.useFakeTimers();
    const act = vi.fn();
    whenTurnedTo(place(), act, end.signal);
    point("pointerenter", "mouse");
    vi.advanceTimersByTime(50);
    point("pointerleave", "mouse");
    point("pointerenter", "touch");
    vi.advanceTimersByTime(500);
    expect(act).not.toHaveBeenCalled();
    point("pointerenter", "mouse");
    vi.advanceTimersByTime(150);
    expect(act).toHaveBeenCalledOnce();
    vi.useRealTimers();
  });

  test("is everything at once for what checks a page, and nothing for what prints it", async () => {
    const outputs = new StoredOutputs(host, end.signal);
    HTMLImageElement.prototype.decode = (): Promise<void> => Promise.resolve();
    await outputs.hydrateAll({ picturesWillDo: true });
    expect(drawn).toEqual([]);
    await outputs.hydrateAll();
    expect(drawn).toHaveLength(1);
    expect(pictureIn(document)).toBeNull();
  });
});

describe("plotly is fetched ahead", () => {
  const prefetched = (): string[] => [...document.querySelectorAll<HTMLLinkElement>("link[rel=prefetch]")].map(({ href }) => href);

  beforeEach(() => vi.stubGlobal("requestIdleCallback", (act: () => void) => act()));

  test("after the reader's first sign, once, and only what the figures need", () => {
    prefetchInTime(host, end.signal);
    expect(prefetched()).toEqual([]);
    window.dispatchEvent(new Event("pointermove"));
    window.dispatchEvent(new Event("keydown"));
    expect(prefetched()).toEqual([expect.stringMatching(/plotly-cartesian\.min\.js$/)]);
  });

  test("never for a reader who saves data", () => {
    Object.defineProperty(navigator, "connection", { value: { saveData: true }, configurable: true });
    prefetchInTime(host, end.signal);
    window.dispatchEvent(new Event("scroll"));
    expect(prefetched()).toEqual([]);
    Reflect.deleteProperty(navigator, "connection");
  });
});

describe("the part of plotly that a figure needs", () => {
  test("is the small one for plots on two axes", () => {
    expect(bundleFor({ data: [{ type: "heatmap" }, { y: [1] }] })).toMatch(/cartesian/);
    expect(CARTESIAN_TRACES.has("scatter")).toBe(true);
  });

  test.each([{ data: [{ type: "bar" }, { type: "scatter3d" }] }, { data: [], frames: [{ data: [{ type: "table" }] }] }])("is all of it for others: %j", (figure) => {
    expect(bundleFor(figure)).toMatch(/plotly\.min\.js$/);
  });

  test("is decided for anything, also what is no figure", () => {
    for (const raw of [null, {}, { data: 3 }, { data: [null] }]) expect(bundleFor(raw)).toMatch(/cartesian/);
  });
});
