import { describe, expect, test } from "vitest";
import { FrameModel } from "../src/frame/anywidget";
import type { OutputEvent } from "../src/live/contract";
import { lostSentence } from "../src/live/widget_session";
import { ownValues, parseFromWidget, type FromWidget } from "../src/widgets/bridge";
import { nameParts } from "../src/widgets/naming";
import { problemWith, unknownSentence } from "../src/widgets/refusals";
import { appended, eventsOf, type StoredOutput } from "../src/widgets/stored_outputs";

const STATE = { value: 1, _esm: "code", layout: {}, names: ["a"], child: "IPY_MODEL_1", bytes: new Uint8Array([1]) };

describe("what crosses into the frame", () => {
  test("is values: no code, layout or other widget", () => {
    expect(Object.keys(ownValues(STATE))).toEqual(["value", "names", "bytes"]);
  });

  test("what comes back may change only values that are there", () => {
    const changes = { value: 2, _esm: "evil", layout: "IPY_MODEL_9", unheard: 1, names: ["IPY_MODEL_2"], __proto__: { x: 1 } };
    expect(parseFromWidget({ kind: "tl-widget-set", changes }, ownValues(STATE))).toEqual({ kind: "tl-widget-set", changes: { value: 2 } });
    expect(parseFromWidget({ kind: "tl-widget-set", changes: { _esm: "x" } }, ownValues(STATE))).toBeNull();
  });

  test.each([[null], ["tl-widget-set"], [{ kind: "tl-widget-set", changes: 1 }], [{ kind: "run", content: "x" }], [{ kind: "tl-widget-send", content: () => 1 }]])(
    "%j is not heard",
    (data) => expect(parseFromWidget(data, STATE)).toBeNull(),
  );

  test("messages keep their bytes", () => {
    const buffers = [new ArrayBuffer(2), "no"];
    expect(parseFromWidget({ kind: "tl-widget-send", content: { a: 1 }, buffers }, STATE)).toEqual({
      kind: "tl-widget-send",
      content: { a: 1 },
      buffers: [buffers[0]],
    });
  });
});

describe("the model inside the frame", () => {
  test("tells the page what is saved, and its listeners what changes", () => {
    const said: FromWidget[] = [];
    const heard: unknown[] = [];
    const model = new FrameModel({ n: 1 }, (message) => said.push(message));
    model.on("change:n", () => heard.push(model.get("n")));
    model.set("n", 2);
    expect(said).toEqual([]);
    model.save_changes();
    model.save_changes();
    expect(said).toEqual([{ kind: "tl-widget-set", changes: { n: 2 } }]);
    model.changed({ n: 3 });
    model.changed({ n: 3 });
    expect(heard).toEqual([2, 3]);
    model.off("change:n");
    model.changed({ n: 4 });
    expect(heard).toEqual([2, 3]);
  });
});

describe("widgets that are not drawn", () => {
  test("say why", () => {
    expect(problemWith({ _esm: "export default {}" })).toBeNull();
    expect(problemWith({ _esm: "https://elsewhere.example/w.js" })).toContain("another server");
    expect(problemWith({ _esm: "x".repeat(5_080_000) })).toContain("5.1 MB of code");
    expect(problemWith({})).toContain("no code");
    expect(unknownSentence("bqplot", "FigureModel")).toBe(
      "Figure of bqplot cannot be shown here: the book carries ipywidgets and anywidget, and loads no code from elsewhere.",
    );
    expect(lostSentence("FigureWidget({\n")).toContain("go.Figure");
    expect(lostSentence("IntSlider(value=0)")).toContain("Run the cell again");
  });
});

describe("outputs in the form of notebooks", () => {
  const events: OutputEvent[] = [
    { kind: "stream", name: "stdout", text: "a" },
    { kind: "stream", name: "stdout", text: "b" },
    { kind: "display", bundle: { "text/plain": "1" }, displayId: null },
    { kind: "error", error: { name: "E", message: "m", traceback: ["t"], execution: null } },
  ];

  test("come back as the events that made them, streams joined", () => {
    const stored = events.reduce<StoredOutput[]>(appended, []);
    expect(stored).toHaveLength(3);
    expect(eventsOf(stored)).toEqual([{ kind: "stream", name: "stdout", text: "ab" }, events[2], events[3]]);
    expect(appended(stored, { kind: "clear", wait: false })).toEqual([]);
  });

  test("hostile ones are left out", () => {
    expect(eventsOf([null, { output_type: "boom" }, 3])).toEqual([]);
    expect(eventsOf("x")).toEqual([]);
  });
});

test("parts that ipywidgets leaves nameless are named by their description", () => {
  const root = document.createElement("div");
  root.innerHTML = `<div class="jupyter-widgets"><label class="widget-label">Layer</label>
    <div class="noUi-base"><div class="noUi-handle"></div><div class="noUi-handle"></div></div>
    <div class="widget-readout" contenteditable="true">3</div></div>
    <div class="jupyter-widgets"><label class="widget-label"></label><input type="text"></div>
    <button title="Play"></button><button>Go</button>`;
  nameParts(root);
  const names = [...root.querySelectorAll("[aria-label]")].map((part) => part.getAttribute("aria-label"));
  expect(names).toEqual(["Layer, lower end", "Layer, upper end", "Layer, value", "Value", "Play"]);
});
