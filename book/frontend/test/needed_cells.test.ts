// Owns the tests of cells that use what another one makes.
import { beforeEach, describe, expect, test } from "vitest";
import { cellElement, kernel, open, PAGE, press, setStage, settled, stage, states } from "./scripted_notebook";

beforeEach(setStage);

describe("a cell that needs another", () => {
  const CODES = PAGE.replace("one\n", "model = 1\n").replace("two", "print(model)");

  test("says so before it fails, and runs both in order", async () => {
    document.body.innerHTML = CODES;
    open(true);
    await press(cellElement(2), "Run");
    await settled();
    await kernel().finish();
    expect(kernel().ran).toEqual(["setup"]);
    expect(states()[2]).toBe("stored");
    expect(cellElement(2).querySelector("[role=alert]")?.textContent).toContain("needs what cell 2 makes (model)");
    await press(cellElement(2), "Run cell 2 first");
    await kernel().finish();
    await kernel().finish();
    expect(kernel().ran).toEqual(["setup", "model = 1", "print(model)"]);
  });

  test("runs at once where the kernel holds the name already", async () => {
    document.body.innerHTML = CODES;
    stage.holds.add("model");
    open(true);
    await press(cellElement(2), "Run");
    await settled();
    await kernel().finish();
    expect(kernel().ran).toEqual(["setup", "print(model)"]);
  });

  test("runs all the same when the reader wants it", async () => {
    document.body.innerHTML = CODES;
    open(true);
    await press(cellElement(2), "Run");
    await settled();
    await kernel().finish();
    await press(cellElement(2), "Run it all the same");
    expect(kernel().ran).toEqual(["setup", "print(model)"]);
  });
});
