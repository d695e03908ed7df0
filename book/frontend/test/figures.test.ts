import { describe, expect, test } from "vitest";
import { themed } from "../src/figures/plotly_theme";
import { figureView, titleOf } from "../src/figures/views";
import type { Host } from "../src/parts";

const COLOURS = { text: "#111", grid: "#ccc", font: "sans-serif" };

describe("a figure in the page's colours", () => {
  test("keeps what its author set of everything else", () => {
    const layout = themed({ title: { text: "T" }, height: 300, xaxis2: { title: "x" }, font: { size: 11 }, margin: { l: 1 } }, COLOURS, 800);
    expect(layout).toMatchObject({
      title: { text: "T" },
      height: 300,
      margin: { l: 1 },
      font: { size: 11, color: "#111" },
      xaxis2: { title: "x", gridcolor: "#ccc" },
      yaxis: { gridcolor: "#ccc" },
      paper_bgcolor: "rgba(0,0,0,0)",
    });
  });

  test("is as wide as its place, whatever width it was drawn for", () => {
    const layout = themed({ width: 1200 }, COLOURS, 390);
    expect(layout["width"]).toBeUndefined();
    expect(layout["autosize"]).toBe(true);
  });

  test("has its legend above where the place is narrow", () => {
    expect(themed({}, COLOURS, 390)["legend"]).toMatchObject({ orientation: "h" });
    expect(themed({}, COLOURS, 800)["legend"]).toEqual({});
  });
});

describe("a figure's view", () => {
  test("is named by the figure's title", () => {
    expect(titleOf({ layout: { title: { text: "<b>Head</b> 3.1" } } })).toBe("Head  3.1");
    expect(titleOf({ layout: { title: "Plain" } })).toBe("Plain");
    expect(titleOf({ data: [] })).toBeNull();
  });

  test("that cannot be drawn shows its text twin and the reason", async () => {
    const slot = document.createElement("div");
    const host = { drawFigure: () => Promise.reject(new Error("plotly is not here")) } as unknown as Host;
    await figureView(host, slot, {}, "three tokens", new AbortController().signal);
    expect(slot.textContent).toContain("plotly is not here");
    expect(slot.querySelector("pre")?.textContent).toBe("three tokens");
  });
});
