import { describe, expect, test } from "vitest";
import { ansiNodes, MAX_CHARS, settle, shorten, stripAnsi } from "../src/live/terminal_text";

function html(text: string): string {
  const box = document.createElement("pre");
  box.append(...ansiNodes(text));
  return box.innerHTML;
}

describe("carriage returns and backspaces", () => {
  test.each([
    ["10%\r50%\r100%", "100%"],
    ["a\r\nb", "a\nb"],
    ["a\r\r\nb", "a\nb"],
    ["kept\n10%\r20%\ndone", "kept\n20%\ndone"],
    ["abc\b\bX", "aX"],
    ["\b\bX", "X"],
  ])("%j is shown as %j", (text, shown) => {
    expect(settle(text)).toBe(shown);
  });

  test("a trailing return keeps the line until the next text comes", () => {
    const waiting = settle("50%\r");
    expect(html(waiting)).toBe("50%");
    expect(settle(`${waiting}60%`)).toBe("60%");
    expect(settle(`${waiting}\n`)).toBe("50%\n");
  });
});

describe("colours", () => {
  test("become classes", () => {
    expect(html("\x1b[31mred\x1b[0m \x1b[1mbold\x1b[0m")).toBe(
      '<span class="ansi-red-fg">red</span> <span class="ansi-bold">bold</span>',
    );
  });

  test("markup in the text stays text", () => {
    expect(html("<img src=x onerror=alert(1)>\x1b[31m<b>")).toBe(
      '&lt;img src=x onerror=alert(1)&gt;<span class="ansi-red-fg">&lt;b&gt;</span>',
    );
  });

  test("cursor movements, titles and links are dropped", () => {
    expect(html("\x1b[2K\x1b[1Ga\x1b]0;title\x07b\x1b]8;;http://x\x1b\\c\x1b]8;;\x1b\\")).toBe("abc");
  });

  test("stripping leaves the words", () => {
    expect(stripAnsi("\x1b[0;31mNameError\x1b[0m: x")).toBe("NameError: x");
  });
});

test("a long output keeps its first and last part", () => {
  const text = `first${"x".repeat(2 * MAX_CHARS)}last`;
  const short = shorten(text);
  expect(short.length).toBeLessThan(MAX_CHARS + 100);
  expect(short.startsWith("first")).toBe(true);
  expect(short.endsWith("last")).toBe(true);
});
