// Owns the tests of what a run tells of itself: number, time, place in the queue.
import { beforeEach, describe, expect, test } from "vitest";
import { cellElement, kernel, press, setStage, settled, stage, states } from "./scripted_notebook";

beforeEach(setStage);

describe("what a run shows", () => {
  test("its number in the kernel and its time, and the place of those that wait", async () => {
    await press(stage.notebook.bar.element, "Run all");
    await settled();
    expect(cellElement(2).querySelector(".tl-place")?.textContent).toBe("1 before it");
    expect(stage.notebook.bar.element.textContent).toContain("cell 1 of 3");
    await kernel().finish();
    expect(cellElement(0).querySelector(".tl-count")?.textContent).toBe("[7]");
    expect(cellElement(0).querySelector(".tl-clock")?.textContent).toMatch(/^\d+ ms$/);
    expect(cellElement(2).querySelector(".tl-place")?.textContent).toBe("next");
    expect(stage.notebook.bar.element.textContent).toContain("cell 2 of 3");
    await kernel().finish();
    await kernel().finish();
    expect(stage.notebook.bar.element.textContent).not.toContain("of 3");
  });

  test("Shift-Enter runs the cell that has the focus, but not what a widget is told", async () => {
    const enter = (): KeyboardEvent => new KeyboardEvent("keydown", { key: "Enter", shiftKey: true, bubbles: true, cancelable: true });
    cellElement(0).querySelector(".tl-stored")?.append(document.createElement("input"));
    cellElement(0).querySelector("input")?.dispatchEvent(enter());
    expect(states()[0]).toBe("stored");
    cellElement(0).dispatchEvent(enter());
    expect(states()[0]).toBe("queued");
  });

  test("Run all above brings along whatever has not run", async () => {
    await press(cellElement(2), "Run all above");
    await settled();
    for (let run = 0; run < 3; run += 1) await kernel().finish();
    expect(kernel().ran).toEqual(["setup", "one", "two"]);
  });

  test("a run whose end nobody saw says so", async () => {
    await press(cellElement(0), "Run");
    await settled();
    await kernel().finish({ kind: "unseen" });
    expect(cellElement(0).querySelector("[role=alert]")?.textContent).toContain("The connection broke while this cell ran.");
  });
});
