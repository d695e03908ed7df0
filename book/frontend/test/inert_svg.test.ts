import { describe, expect, test } from "vitest";
import { inertSvg } from "../src/pictures/inert_svg";

const svg = (inside: string): string => `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">${inside}</svg>`;

describe("a drawn picture", () => {
  test.each([
    ["<script>alert(1)</script>", "script"],
    ['<rect onload="alert(1)"/>', "onload"],
    ["<foreignObject><p>x</p></foreignObject>", "foreignObject"],
    ['<a xlink:href="https://elsewhere.example"><text>word</text></a>', "elsewhere"],
    ['<a href="javascript:alert(1)"><text>word</text></a>', "javascript"],
    ['<image xlink:href="https://elsewhere.example/a.png"/>', "elsewhere"],
    ['<image href="data:image/svg+xml,x"/>', "svg+xml"],
    ['<rect style="fill: url(https://elsewhere.example/a)"/>', "elsewhere"],
    ['<set attributeName="href" to="javascript:alert(1)"/>', "javascript"],
  ])("loses what could act: %s", (inside, word) => {
    expect(inertSvg(svg(inside))).not.toContain(word);
  });

  test("keeps words, shapes, gradients and the pixels of a heatmap", () => {
    const inside = '<text style="fill: rgb(1, 2, 3); fill-opacity: 1">a &lt;b&gt; c</text><rect fill="url(#g)" clip-path="url(#c)"/><image xlink:href="data:image/png;base64,AA=="/>';
    const kept = inertSvg(svg(inside));
    for (const part of ["a &lt;b&gt; c", "rgb(1, 2, 3)", "url(#g)", "url(#c)", "data:image/png;base64,AA=="]) expect(kept).toContain(part);
  });

  test("keeps the words of a link", () => {
    expect(inertSvg(svg('<a xlink:href="https://elsewhere.example"><text>word</text></a>'))).toContain("<text>word</text>");
  });

  test("that is no SVG is refused", () => {
    expect(() => inertSvg("<html/>")).toThrow("expected an SVG document, got <html>");
  });
});
