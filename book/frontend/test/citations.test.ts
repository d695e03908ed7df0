import { describe, expect, test } from "vitest";
import { inlines, textOf } from "../src/chat/inline";
import { bookLink } from "../src/chat/links";

const piece = (text: string, ...cites: number[]) => ({ text, cites });
const KNOWN = new Set([1, 2]);

describe("citation links", () => {
  test.each([
    "kb/documents/self-attention.html",
    "kb/documents/self-attention.html#queries-and-keys",
    "index.html",
    "book/error-codes.html#tlab.no-such-site",
  ])("%s leads to a page of the book", (url) => {
    expect(bookLink("../", url)).toBe(`../${url}`);
  });

  test.each([
    "javascript:alert(1)",
    "JAVASCRIPT:alert(1).html",
    "https://elsewhere.example/x.html",
    "//elsewhere.example/x.html",
    "/x.html",
    "\\\\elsewhere.example\\x.html",
    "../../etc/x.html",
    "kb/../../x.html",
    "data:text/html,x.html",
    "x.html?next=https://elsewhere.example",
    "x.html#<img>",
    "api/kernels",
    " x.html",
    "x.html\n",
    "",
  ])("%j leads nowhere", (url) => {
    expect(bookLink("../", url)).toBeNull();
  });
});

describe("the markup of answers", () => {
  test("bold, code and citations are the only markup", () => {
    expect(inlines([piece("**Bold** and `code` and <b>text</b>.", 1)], true, KNOWN)).toEqual([
      { kind: "bold", text: "Bold" },
      { kind: "text", text: " and " },
      { kind: "code", text: "code" },
      { kind: "text", text: " and <b>text</b>." },
      { kind: "cite", n: 1 },
    ]);
  });

  test("quoted sentences are set apart by a space", () => {
    expect(inlines([piece("One."), piece("Two.")], true, KNOWN).map(textOf).join("")).toBe("One. Two.");
  });

  test("a model's pieces join as they come, also inside a mark", () => {
    const spans = inlines([piece("a **bo"), piece("ld** wo"), piece("rd")], false, KNOWN);
    expect(spans).toEqual([
      { kind: "text", text: "a " },
      { kind: "bold", text: "bold" },
      { kind: "text", text: " word" },
    ]);
  });

  test("a number that the model wrote is a citation only if the source exists", () => {
    expect(inlines([piece("So it is [2], not [7].")], false, KNOWN)).toEqual([
      { kind: "text", text: "So it is " },
      { kind: "cite", n: 2 },
      { kind: "text", text: ", not " },
      { kind: "text", text: "[7]" },
      { kind: "text", text: "." },
    ]);
  });

  test("a citation of a source that is not listed is dropped", () => {
    expect(inlines([piece("x", 9)], true, KNOWN)).toEqual([{ kind: "text", text: "x" }]);
  });

  test("the marks between pieces cannot be forged", () => {
    expect(inlines([piece("x\u{E000}1\u{E001}y")], true, KNOWN)).toEqual([{ kind: "text", text: "x1y" }]);
  });
});
