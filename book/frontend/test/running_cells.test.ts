// Owns the tests of what happens between Run and the live output.
import { beforeEach, describe, expect, test } from "vitest";
import { cellElement, kernel, open, PAGE, press, setStage, settled, stage, states } from "./scripted_notebook";

beforeEach(setStage);

describe("running a cell", () => {
  test("starts one kernel, runs the set-up first, and shows the live output in place of the stored one", async () => {
    await press(cellElement(1), "Run");
    expect(document.body.dataset["kernel"]).toBe("starting");
    expect(states()).toEqual(["queued", "queued", "stored"]);
    await settled();
    await kernel().finish();
    expect(kernel().ran).toEqual(["setup", "one"]);
    const output = cellElement(1).querySelector<HTMLElement>(".cell_output");
    expect(output?.textContent).toBe("stored one");
    expect(output?.firstElementChild?.classList.contains("tl-stale")).toBe(true);
    kernel().say("live one");
    expect(output?.textContent).toBe("live one");
    await kernel().finish();
    expect(states()).toEqual(["live", "live", "stored"]);
    await press(cellElement(2), "Run");
    expect(stage.kernels).toHaveLength(1);
    expect(kernel().ran).toEqual(["setup", "one", "two"]);
  });

  test("tells tests and benchmarks when it starts, shows and ends", async () => {
    const heard: string[] = [];
    for (const moment of ["start", "first-output", "done"]) {
      const listen = (event: Event): number => heard.push(`${moment} ${(event as CustomEvent).detail.cellIndex}`);
      document.addEventListener(`tl:run-${moment}`, listen, { signal: stage.leave.signal });
    }
    await press(cellElement(0), "Run");
    await settled();
    kernel().say("x");
    await kernel().finish();
    expect(heard).toEqual(["start 0", "first-output 0", "done 0"]);
  });

  test("can be taken back: the stored output and the original code return", async () => {
    await press(cellElement(1), "Run");
    await settled();
    await kernel().finish();
    kernel().say("live");
    await kernel().finish();
    await press(cellElement(1), "Reset");
    expect(cellElement(1).querySelector(".tl-live")).toBeNull();
    expect(cellElement(1).querySelector(".cell_output")?.textContent).toBe("stored one");
    expect(states()[1]).toBe("stored");
  });

  test("a figure keeps its caption while its code is the same", async () => {
    const caption = "<figure>stored two<figcaption>What to see</figcaption></figure>";
    document.body.innerHTML = PAGE.replace("stored two", caption);
    open(true);
    await press(cellElement(2), "Run");
    await settled();
    await kernel().finish();
    kernel().say("live two");
    await kernel().finish();
    expect(cellElement(2).querySelector(".cell_output")?.textContent).toBe("live twoWhat to see");
  });

  test("a run without output leaves no stored output behind", async () => {
    await press(cellElement(1), "Run");
    await settled();
    await kernel().finish();
    await kernel().finish();
    expect(cellElement(1).querySelector(".cell_output")?.textContent).toBe("");
  });

  test("the offline copy says how to run cells", async () => {
    document.body.innerHTML = PAGE;
    open(false);
    await press(cellElement(1), "Run");
    expect(cellElement(1).querySelector("[role=alert]")?.textContent).toContain("python3 noxfile.py serve");
    expect(states()).toEqual(["stored", "stored", "stored"]);
  });
});
