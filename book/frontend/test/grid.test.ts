import { describe, expect, test } from "vitest";
import type { OutputEvent } from "../src/live/contract";
import { answerAt, gridView, parseGrid, type GridData } from "../src/live/grid";

const RAW = {
  version: 1,
  title: "Bars",
  axes: [{ name: "n", values: [1, 2] }, { name: "kind", values: ["a", "b", "c"] }],
  states: [0, 1, 1, 0, 2, 2],
  answers: [{ "text/plain": "zero" }, { "text/plain": { $part: 0 } }, { list: [{ $part: 1 }] }],
  parts: ["shared", { deep: { $part: 0 } }],
};
const GRID = parseGrid(RAW) as GridData;

describe("a stored grid", () => {
  test("leads from positions to answers, shared parts put back", () => {
    expect(answerAt(GRID, [0, 0])).toEqual({ "text/plain": "zero" });
    expect(answerAt(GRID, [0, 2])).toEqual({ "text/plain": "shared" });
    expect(answerAt(GRID, [1, 1])).toEqual({ list: [{ deep: "shared" }] });
  });

  test("whose numbers do not fit is none", () => {
    for (const broken of [null, 3, {}, { ...RAW, states: [0] }, { ...RAW, states: [0, 1, 1, 0, 2, 9] }, { ...RAW, axes: [] }, { ...RAW, axes: [{ name: 1 }] }]) {
      expect(parseGrid(broken)).toBeNull();
    }
  });

  test("that refers to itself is refused", () => {
    const circle = { ...GRID, answers: [{ $part: 0 }, {}, {}], parts: [{ again: { $part: 0 } }] };
    expect(() => answerAt(circle, [0, 0])).toThrow("circle");
  });

  test("is moved by a labelled slider and a labelled list", async () => {
    const slot = document.createElement("div");
    const heard: OutputEvent[] = [];
    const open = () => ({ isEmpty: false, handle: (event: OutputEvent) => void heard.push(event), drawn: async () => undefined });
    await gridView(slot, GRID, "twin", open, new AbortController().signal);
    const slider = slot.querySelector("input") as HTMLInputElement;
    const list = slot.querySelector("select") as HTMLSelectElement;
    expect([slider, list].map((control) => control.labels?.[0]?.querySelector("span")?.textContent)).toEqual(["n", "kind"]);
    slider.value = "1";
    slider.dispatchEvent(new Event("input"));
    await new Promise((resolve) => setTimeout(resolve));
    list.selectedIndex = 1;
    list.dispatchEvent(new Event("change"));
    await new Promise((resolve) => setTimeout(resolve));
    expect(slider.getAttribute("aria-valuetext")).toBe("2");
    expect(heard.map((event) => (event.kind === "display" ? event.bundle : event))).toEqual([
      { "text/plain": "zero" },
      { "text/plain": "zero" },
      { list: [{ deep: "shared" }] },
    ]);
    expect(slot.querySelector("details pre")?.textContent).toBe("twin");
  });
});
