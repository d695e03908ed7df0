import { beforeEach, describe, expect, test } from "vitest";
import { drawFrame, MAX_HEIGHT_PX, parseFromFrame } from "../src/figures/isolated_frame";
import { localCopy } from "../src/frame/libraries";
import { nameControls } from "../src/frame/naming";

const CONFIG = { page: "lessons/tour", root: "../", live: true, chat: true };

describe("what a frame may say", () => {
  test.each([
    [{ kind: "tl-ready", html: "x" }, { kind: "tl-ready" }],
    [{ kind: "tl-height", height: 210.4 }, { kind: "tl-height", height: 211 }],
    [{ kind: "tl-height", height: 1e9 }, { kind: "tl-height", height: MAX_HEIGHT_PX }],
    [{ kind: "tl-height", height: -5 }, { kind: "tl-height", height: 20 }],
    [{ kind: "tl-height", height: Number.NaN }, null],
    [{ kind: "tl-height", height: "100vh" }, null],
    [{ kind: "run" }, null],
    ["tl-ready", null],
    [null, null],
  ])("%j is heard as %j", (data, heard) => {
    expect(parseFromFrame(data)).toEqual(heard);
  });
});

describe("the page's side", () => {
  let frame: HTMLIFrameElement;

  beforeEach(() => {
    const target = document.createElement("div");
    document.body.replaceChildren(target);
    drawFrame(CONFIG, target, "<b>x</b>", "Attention", new AbortController().signal);
    frame = target.querySelector("iframe") as HTMLIFrameElement;
  });

  const say = (data: unknown, source: Window | null): boolean =>
    window.dispatchEvent(new MessageEvent("message", { data, source }));

  test("the frame may run scripts and nothing else", () => {
    expect(frame.getAttribute("sandbox")).toBe("allow-scripts");
    expect(frame.getAttribute("src")).toMatch(/_static\/frame\.html$/);
    expect(frame.title).toBe("Attention");
  });

  test("only the frame itself is listened to", () => {
    say({ kind: "tl-height", height: 300 }, window);
    expect(frame.style.height).toBe("");
    say({ kind: "tl-height", height: 300 }, frame.contentWindow);
    expect(frame.style.height).toBe("300px");
  });
});

describe("libraries", () => {
  test.each([
    ["https://cdnjs.cloudflare.com/ajax/libs/require.js/2.3.6/require.min.js", "require"],
    ["https://cdnjs.cloudflare.com/ajax/libs/d3/5.7.0/d3.min", "d3"],
    ["https://d3js.org/d3.v5.min.js", "d3"],
    ["https://cdnjs.cloudflare.com/ajax/libs/jquery/2.0.0/jquery.min", "jquery"],
    ["//code.jquery.com/jquery-3.7.1.min.js?x=1", "jquery"],
    ["d3", "d3"],
    ["https://elsewhere.example/tracker.js", null],
    ["https://elsewhere.example/d3-sankey/evil.js", null],
    ["https://elsewhere.example/require/evil.js", null],
  ])("%s is served by %s", (address, library) => {
    expect(localCopy(address)).toBe(library);
  });
});

test("a nameless choice is named by the words before it", () => {
  const root = document.createElement("div");
  root.innerHTML = '<span>Layer: <select id="layer"></select> Attention: <select id="filter"></select><select></select></span>';
  nameControls(root);
  expect([...root.querySelectorAll("select")].map((select) => select.getAttribute("aria-label"))).toEqual(["Layer", "Attention", "Choice"]);
});
