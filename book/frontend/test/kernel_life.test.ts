// Owns the tests of how a page's kernel starts, dies, is kept and is given back.
import { beforeEach, describe, expect, test } from "vitest";
import { ServerError } from "../src/server_error";
import { cellElement, kernel, leavePage, open, PAGE, press, setStage, settled, stage, states } from "./scripted_notebook";

beforeEach(setStage);

describe("the kernel's life", () => {
  test("an interrupt empties the queue and reaches the kernel", async () => {
    await press(stage.notebook.bar.element, "Run all");
    await settled();
    await press(cellElement(0), "Interrupt");
    expect(kernel().isInterrupted).toBe(true);
    expect(states()).toEqual(["running", "stored", "stored"]);
  });

  test("a death is told at the cell, and a new kernel knows that nothing has run", async () => {
    await press(cellElement(1), "Run");
    await settled();
    await kernel().finish();
    kernel().events.onDead("died");
    await settled();
    expect(document.body.dataset["kernel"]).toBe("dead");
    expect(kernel().isClosed).toBe(true);
    expect(states()).toEqual(["live", "stored", "stored"]);
    await press(cellElement(1), "Start a new kernel");
    await settled();
    expect(document.body.dataset["kernel"]).toBe("ready");
    await press(cellElement(1), "Run");
    expect(kernel().ran).toEqual(["setup"]);
  });

  test("late words of an old kernel are not heard", async () => {
    await press(cellElement(0), "Run");
    await settled();
    const old = kernel();
    await stage.notebook.newKernel();
    old.events.onDead("died");
    expect(document.body.dataset["kernel"]).toBe("ready");
  });

  test("a refusal shows the server's sentence and hint, and leaves the stored outputs", async () => {
    stage.refusal = new ServerError({ code: "service-full", message: "All kernels are taken.", hint: "Wait.", status: 503 });
    await press(cellElement(1), "Run");
    await settled();
    expect(document.body.dataset["kernel"]).toBe("failed");
    expect(cellElement(1).querySelector("[role=alert]")?.textContent).toContain("All kernels are taken. Wait.");
    expect(states()).toEqual(["stored", "stored", "stored"]);
  });

  test("a death says what went with it, and a restart runs it all again", async () => {
    await press(cellElement(1), "Run");
    await settled();
    await kernel().finish();
    await kernel().finish();
    kernel().events.onDead("died");
    await settled();
    expect(stage.notebook.bar.element.textContent).toContain("What cells 1 and 2 had computed is lost.");
    await press(stage.notebook.bar.element, "Restart and run all above");
    await settled();
    await kernel().finish();
    await kernel().finish();
    expect(stage.kernels).toHaveLength(2);
    expect(kernel().ran).toEqual(["setup", "one"]);
  });

  test("a kernel may be kept for the next page, which takes it up at once", async () => {
    await press(cellElement(0), "Run");
    await settled();
    stage.notebook.bar.element.querySelector<HTMLInputElement>("input[role=switch]")?.click();
    window.dispatchEvent(new Event("pagehide"));
    expect(kernel()).toMatchObject({ isLeft: true, isClosed: false });
    leavePage();
    document.body.innerHTML = PAGE;
    open(true);
    await settled();
    await settled();
    expect(stage.kernels).toHaveLength(2);
    expect(kernel().isKept).toBe(true);
    expect(stage.notebook.bar.element.textContent).toContain("the kernel of the page before");
    stage.notebook.bar.element.querySelector<HTMLInputElement>("input[role=switch]")?.click();
    window.dispatchEvent(new Event("pagehide"));
    expect(kernel().isClosed).toBe(true);
    expect(window.sessionStorage.length).toBe(0);
  });

  test("leaving the page gives the kernel back", async () => {
    await press(cellElement(0), "Run");
    await settled();
    window.dispatchEvent(new Event("pagehide"));
    expect(kernel().isClosed).toBe(true);
    expect(document.body.dataset["kernel"]).toBe("idle");
  });
});
