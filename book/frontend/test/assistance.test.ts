import { describe, expect, test } from "vitest";
import { characters, completionsOf, existing, inspectionOf, whichExist } from "../src/live/assistance";

describe("completion", () => {
  test("counts characters as Python does", () => {
    const code = "x = '😀'; gre";
    expect(characters(code, code.length)).toBe(code.length - 1);
    const content = { matches: ["greeting"], cursor_start: 9, cursor_end: 12, metadata: {} };
    expect(completionsOf(code, content)).toEqual({ from: 10, to: 13, names: [{ text: "greeting", kind: "" }] });
  });

  test("names kinds, leaves magic out, and does not write the dot twice", () => {
    const metadata = { _jupyter_types_experimental: [{ text: ".sqrt", type: "function" }] };
    const content = { matches: [".sqrt", ".sin", "%magic", 3], cursor_start: 4, cursor_end: 5, metadata };
    expect(completionsOf("math.", content)).toEqual({
      from: 5,
      to: 5,
      names: [
        { text: "sqrt", kind: "function" },
        { text: "sin", kind: "" },
      ],
    });
  });

  test.each([{}, { matches: "no" }, { matches: null, metadata: { _jupyter_types_experimental: 3 } }])("an odd answer offers nothing", (content) => {
    expect(completionsOf("x", content).names).toEqual([]);
  });
});

describe("inspection", () => {
  test("is the plain text, or nothing", () => {
    expect(inspectionOf({ found: true, data: { "text/plain": "doc", "text/html": "<b>" } })).toBe("doc");
    expect(inspectionOf({ found: false, data: { "text/plain": "doc" } })).toBe("");
    expect(inspectionOf({ found: true, data: { "text/plain": ["x"] } })).toBe("");
  });
});

describe("asking which names exist", () => {
  test("sends identifiers only", () => {
    expect(whichExist(["model", "größe", "x); import os", '"'])).toBe(
      '" ".join(name for name in ["model", "größe"] if name in globals())',
    );
  });

  test("reads the answer", () => {
    const content = { user_expressions: { names: { status: "ok", data: { "text/plain": "'model x'" } } } };
    expect([...existing(content)]).toEqual(["model", "x"]);
    expect([...existing({})]).toEqual([]);
  });
});
