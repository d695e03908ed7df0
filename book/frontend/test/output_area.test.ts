import { beforeEach, describe, expect, test } from "vitest";
import type { OutputEvent } from "../src/live/contract";
import { OutputArea } from "../src/live/output_area";
import type { Host } from "../src/parts";

const drawn: string[] = [];
const host = {
  drawFigure: async (target: HTMLElement, figure: unknown) => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    drawn.push(JSON.stringify(figure));
    target.textContent = "figure";
  },
  drawFrame: (target: HTMLElement, html: string) => {
    target.textContent = `frame of ${html.length}`;
  },
} as unknown as Host;

function area(): { box: HTMLElement; outputs: OutputArea; stop: AbortController } {
  const box = document.createElement("div");
  const stop = new AbortController();
  return { box, outputs: new OutputArea(host, box, stop.signal), stop };
}

const stdout = (text: string): OutputEvent => ({ kind: "stream", name: "stdout", text });
const plain = (text: string, displayId: string | null = null): OutputEvent => ({ kind: "display", bundle: { "text/plain": text }, displayId });

beforeEach(() => drawn.splice(0));

describe("the outputs of a run", () => {
  test("stand in the order in which they came", async () => {
    const { box, outputs } = area();
    outputs.handle(stdout("a"));
    outputs.handle(stdout("b\n"));
    outputs.handle({ kind: "stream", name: "stderr", text: "careful" });
    outputs.handle(plain("1"));
    outputs.handle(stdout("c"));
    await outputs.drawn();
    expect([...box.children].map((child) => child.textContent)).toEqual(["ab\n", "careful", "1", "c"]);
  });

  test("clear at once, or with the next output", async () => {
    const { box, outputs } = area();
    outputs.handle(stdout("old"));
    outputs.handle({ kind: "clear", wait: true });
    expect(box.textContent).toBe("old");
    outputs.handle(stdout("new"));
    await outputs.drawn();
    expect(box.textContent).toBe("new");
    outputs.handle({ kind: "clear", wait: false });
    expect(outputs.isEmpty).toBe(true);
  });

  test("are updated in place, also from another cell", async () => {
    const first = area();
    const second = area();
    first.outputs.handle(plain("10 %", "bar"));
    await first.outputs.drawn();
    second.outputs.handle({ kind: "update", bundle: { "text/plain": "20 %" }, displayId: "bar" });
    await first.outputs.drawn();
    expect(first.box.textContent).toBe("20 %");
    expect(second.outputs.isEmpty).toBe(true);
  });

  test("that are gone are not updated any more", async () => {
    const { box, outputs, stop } = area();
    outputs.handle(plain("10 %", "gone"));
    await outputs.drawn();
    stop.abort();
    outputs.handle({ kind: "update", bundle: { "text/plain": "20 %" }, displayId: "gone" });
    await outputs.drawn();
    expect(box.textContent).toBe("10 %");
  });

  test("are drawn one after the other, and one that fails stops no other", async () => {
    const { box, outputs } = area();
    outputs.handle({ kind: "display", bundle: { "application/vnd.plotly.v1+json": { n: 1 } }, displayId: null });
    outputs.handle({ kind: "display", bundle: { "text/html": "<script>x()</script>", "text/plain": "twin" }, displayId: null });
    outputs.handle({ kind: "display", bundle: { "application/vnd.plotly.v1+json": { n: 2 } }, displayId: null });
    await outputs.drawn();
    expect(drawn).toEqual(['{"n":1}', '{"n":2}']);
    expect(box.children[1]?.textContent).toContain("frame of");
    expect(box.children[1]?.querySelector("details pre")?.textContent).toBe("twin");
  });

  test("that are HTML without scripts are cleaned", async () => {
    const { box, outputs } = area();
    outputs.handle({ kind: "display", bundle: { "text/html": '<b onclick="alert(1)">x</b>' }, displayId: null });
    await outputs.drawn();
    expect(box.querySelector("b")?.outerHTML).toBe("<b>x</b>");
  });

  test("that are errors say the name first", () => {
    const { box, outputs } = area();
    outputs.handle({ kind: "error", error: { name: "ValueError", message: "no", traceback: [], execution: 1 } });
    expect(box.textContent).toBe("ValueError: no");
  });
});
