// Owns the tests of cells that fail, and what the page offers then.
import { beforeEach, describe, expect, test } from "vitest";
import { cellElement, kernel, NAME_ERROR, open, PAGE, press, setStage, settled, stage, states } from "./scripted_notebook";

beforeEach(setStage);

describe("a failing cell", () => {
  test("marks its line and offers to explain it", async () => {
    document.body.innerHTML = PAGE.replace("<pre>two</pre>", "<pre><span>x = 1</span>\ny = <b>1 / 0</b>\nz = 2</pre>");
    open(true);
    await press(cellElement(2), "Run");
    await settled();
    await kernel().finish();
    const traceback = ["---", "\u001b[36mCell In[3], line 2\u001b[0m\n      1 x = 1\n----> 2 y = 1 / 0\n", "ZeroDivisionError: division by zero"];
    const error = { name: "ZeroDivisionError", message: "division by zero", traceback, execution: 3 };
    kernel().fail(error);
    await kernel().finish({ kind: "error", error });
    const mark = cellElement(2).querySelector("pre mark");
    expect(mark?.innerHTML).toBe("y = <b>1 / 0</b>");
    await press(cellElement(2), "Explain this");
    expect(stage.asked[0]).toContain("`ZeroDivisionError: division by zero` at the line `y = 1 / 0`");
    await press(cellElement(2), "Run");
    expect(cellElement(2).querySelector("pre mark")).toBeNull();
    expect(stage.notebook.cells[2]?.code.text).toBe("x = 1\ny = 1 / 0\nz = 2");
  });

  test("that misses a name offers to run what stands above", async () => {
    await press(cellElement(2), "Run");
    await settled();
    await kernel().finish();
    await kernel().finish({ kind: "error", error: NAME_ERROR });
    expect(states()).toEqual(["live", "stored", "error"]);
    await press(cellElement(2), "Run all cells above");
    await kernel().finish();
    await kernel().finish();
    expect(kernel().ran).toEqual(["setup", "two", "one", "two"]);
    expect(cellElement(2).querySelector(".tl-notice")).toBeNull();
    expect(states()).toEqual(["live", "live", "live"]);
  });

  test("that stood in the way of another is named there", async () => {
    await press(cellElement(1), "Run");
    await settled();
    await kernel().finish({ kind: "error", error: { ...NAME_ERROR, name: "ImportError" } });
    expect(cellElement(1).querySelector("[role=alert]")?.textContent).toContain("Cell 1 above failed");
  });

  test("stops what waits behind it, unless it is meant to fail", async () => {
    await press(stage.notebook.bar.element, "Run all");
    await settled();
    await kernel().finish({ kind: "error", error: { ...NAME_ERROR, name: "ValueError" } });
    expect(states()).toEqual(["error", "stored", "stored"]);
    document.body.innerHTML = PAGE.replace("tag_setup", "tag_raises-exception");
    open(true);
    await press(stage.notebook.bar.element, "Run all");
    await settled();
    await kernel().finish({ kind: "error", error: NAME_ERROR });
    expect(states()).toEqual(["error", "running", "queued"]);
  });
});
