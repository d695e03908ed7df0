import { describe, expect, test } from "vitest";
import { chooseRendering, PLOTLY } from "../src/live/rendering";

describe("the rendering of a bundle", () => {
  test("a figure goes before its text twin", () => {
    const figure = { data: [] };
    expect(chooseRendering({ [PLOTLY]: figure, "text/plain": "twin" })).toEqual({ kind: "figure", figure, twin: "twin" });
  });

  test("HTML with scripts is isolated, with its twin", () => {
    const html = "<script>x()</script>";
    expect(chooseRendering({ "text/html": html, "text/plain": "twin" })).toEqual({ kind: "frame", html, twin: "twin" });
  });

  test("HTML without scripts is shown in the page", () => {
    expect(chooseRendering({ "text/html": "<b>x</b>", "text/plain": "x" })).toEqual({ kind: "html", html: "<b>x</b>" });
  });

  test("a PNG becomes a data URI; a meaningless text is no alternative text", () => {
    expect(chooseRendering({ "image/png": "AA\nAA\n", "text/plain": "<Figure size 640x480>" })).toEqual({
      kind: "image",
      url: "data:image/png;base64,AAAA",
      alt: "Picture drawn by this cell",
    });
  });

  test("an image that is no base64 falls back to its text", () => {
    expect(chooseRendering({ "image/png": '" onerror="x', "text/plain": "picture" })).toEqual({ kind: "text", text: "picture" });
  });

  test("a drawing is shown as an image, so that its scripts are dead", () => {
    const rendering = chooseRendering({ "image/svg+xml": "<svg><script>alert(1)</script></svg>" });
    expect(rendering.kind).toBe("image");
    expect(rendering.kind === "image" && rendering.url.startsWith("data:image/svg+xml;")).toBe(true);
  });

  test("Markdown and LaTeX are set, JSON is text", () => {
    expect(chooseRendering({ "text/markdown": "**x**", "text/plain": "<Markdown>" })).toEqual({ kind: "markdown", source: "**x**" });
    expect(chooseRendering({ "text/latex": "$x$", "text/plain": "<Latex>" })).toEqual({ kind: "latex", source: "$x$" });
    expect(chooseRendering({ "application/json": { a: 1 } })).toEqual({ kind: "text", text: '{\n  "a": 1\n}' });
  });

  test("an unknown form falls back to its text, and to nothing", () => {
    expect(chooseRendering({ "application/x-unknown": 1, "text/plain": "t" })).toEqual({ kind: "text", text: "t" });
    expect(chooseRendering({})).toEqual({ kind: "nothing" });
  });

  test("texts may come as lists of lines", () => {
    expect(chooseRendering({ "text/plain": ["a\n", "b"] })).toEqual({ kind: "text", text: "a\nb" });
  });
});
