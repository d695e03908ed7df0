// Owns the tests of what becomes of a reader's edit.
import { beforeEach, describe, expect, test, vi } from "vitest";
import { cellElement, kernel, open, PAGE, press, setStage, settled, stage, states, type } from "./scripted_notebook";

beforeEach(setStage);

describe("an edit", () => {
  test("outlives the page, runs, and is forgotten by Reset", async () => {
    await type(1, "mine");
    expect(cellElement(1).querySelector<HTMLElement>(".tl-edited")?.hidden).toBe(false);
    window.dispatchEvent(new Event("pagehide"));
    document.body.innerHTML = PAGE;
    open(true);
    expect(cellElement(1).querySelector("pre")?.textContent).toBe("mine\n");
    await press(cellElement(1), "Run");
    await settled();
    await kernel().finish();
    expect(kernel().ran).toEqual(["setup", "mine"]);
    await kernel().finish();
    await press(cellElement(1), "Reset");
    expect(stage.notebook.cells[1]?.code.text).toBe("one");
    expect(window.localStorage.length).toBe(0);
  });

  test("of an older text of the book waits for the reader's choice", async () => {
    await type(1, "mine");
    window.dispatchEvent(new Event("pagehide"));
    document.body.innerHTML = PAGE.replace("one\n", "new\n");
    open(true);
    expect(stage.notebook.cells[1]?.code.text).toBe("new");
    expect(cellElement(1).querySelector(".tl-notice")?.textContent).toContain("The book's code has changed since your edit.");
    expect(cellElement(1).querySelector(".tl-notice pre")?.textContent).toBe("mine");
    await press(cellElement(1), "Use my edit");
    expect(stage.notebook.cells[1]?.code.text).toBe("mine");
    expect(cellElement(1).querySelector(".tl-notice")).toBeNull();
  });

  test("that the browser cannot keep costs a sentence only", async () => {
    const refuse = vi.spyOn(Storage.prototype, "setItem").mockImplementation(() => {
      throw new DOMException("full", "QuotaExceededError");
    });
    await type(1, "mine");
    window.dispatchEvent(new Event("pagehide"));
    refuse.mockRestore();
    expect(stage.notebook.bar.element.textContent).toContain("This browser does not keep your edits");
    expect(stage.notebook.cells[1]?.code.text).toBe("mine");
  });

  test("is asked about once before the page is reset", async () => {
    await press(cellElement(2), "Run");
    await settled();
    await kernel().finish();
    await kernel().finish();
    await press(stage.notebook.bar.element, "Reset page");
    expect(states()).toEqual(["stored", "stored", "stored"]);
    await type(1, "mine");
    await press(stage.notebook.bar.element, "Reset page");
    expect(stage.notebook.cells[1]?.code.text).toBe("mine");
    expect(stage.notebook.bar.element.textContent).toContain("throws away your edits in cell 2");
    await press(stage.notebook.bar.element, "Reset the page");
    expect(stage.notebook.cells[1]?.code.text).toBe("one");
  });
});
