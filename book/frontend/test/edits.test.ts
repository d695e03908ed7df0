import { beforeEach, describe, expect, test } from "vitest";
import { Edits } from "../src/cells/edits";
import { failureButtons, questionAbout } from "../src/cells/explain";
import { KeptKernel } from "../src/cells/kept_kernel";
import { siteUrl } from "../src/page_config";

beforeEach(() => {
  window.localStorage.clear();
  window.sessionStorage.clear();
});

describe("edits", () => {
  test("are kept for their page and cell, and forgotten when they say what the book says", () => {
    const edits = new Edits("lessons/tour");
    expect(edits.save(0, "book", "mine")).toBe(true);
    expect(edits.load(0, "book")).toEqual({ kind: "mine", mine: "mine" });
    expect(edits.load(0, "newer")).toEqual({ kind: "outdated", book: "book", mine: "mine" });
    expect(new Edits("lessons/other").load(0, "book")).toEqual({ kind: "none" });
    edits.save(0, "book", "book");
    expect(window.localStorage.length).toBe(0);
  });

  test("follow their cells when the book moves these", () => {
    const edits = new Edits("p");
    edits.save(0, "a", "my a");
    edits.save(1, "b", "my b");
    edits.save(4, "e", "my e");
    const sources = ["new", "a", "b", "e"];
    edits.arrange(sources);
    expect(sources.map((source, index) => edits.load(index, source).kind)).toEqual(["none", "mine", "mine", "mine"]);
    expect(window.localStorage.length).toBe(3);
  });

  test("of cells that are gone are not written over by others", () => {
    const edits = new Edits("p");
    edits.save(0, "a", "my a");
    edits.save(1, "gone", "my gone");
    edits.arrange(["new", "a"]);
    expect(edits.load(1, "a")).toEqual({ kind: "outdated", book: "gone", mine: "my gone" });
    expect(edits.load(0, "new")).toEqual({ kind: "outdated", book: "a", mine: "my a" });
  });

  test.each(["{", "[]", "null", '{"book": 3}'])("that are spoilt are none: %s", (text) => {
    window.localStorage.setItem("tl-edit:p:1", text);
    expect(new Edits("p").load(0, "book")).toEqual({ kind: "none" });
  });

  test("of a browser without storage last for the page only", () => {
    const edits = new Edits("p", null);
    expect(edits.save(0, "book", "mine")).toBe(false);
    expect(edits.load(0, "book")).toEqual({ kind: "none" });
  });
});

describe("a kept kernel", () => {
  test("is remembered only while the reader wants it", () => {
    const id = "0".repeat(36);
    new KeptKernel().note(id);
    expect(new KeptKernel().id).toBeNull();
    new KeptKernel().turn(true, id);
    expect(new KeptKernel()).toMatchObject({ isOn: true, id });
    new KeptKernel().turn(false, id);
    expect(new KeptKernel()).toMatchObject({ isOn: false, id: null });
  });

  test("has an id of the service's form", () => {
    window.sessionStorage.setItem("tl-kernel", "../../evil");
    expect(new KeptKernel()).toMatchObject({ isOn: true, id: null });
  });
});

describe("a failure", () => {
  const failure = { name: "E", message: `${"x".repeat(2000)}`, place: { line: 3, text: "a `b`" } };

  test("becomes a question that the chat takes", () => {
    expect(questionAbout(failure).length).toBeLessThan(1000);
    expect(questionAbout(failure)).toContain("at the line `a 'b'`");
  });

  test("offers nothing where there is neither chat nor line", () => {
    expect(failureButtons({ ...failure, place: null }, { goTo: () => undefined, ask: null })).toBeNull();
    expect(failureButtons(failure, { goTo: null, ask: () => undefined })?.textContent).toBe("Explain this");
  });
});

test("the site's root is a folder, also on a page beside the first", () => {
  document.head.innerHTML = '<base href="http://127.0.0.1:9/next.html">';
  const config = { page: "next", root: "", live: true, chat: true };
  expect(siteUrl(config, "")).toBe("http://127.0.0.1:9/");
  expect(siteUrl(config, "_static/live.js")).toBe("http://127.0.0.1:9/_static/live.js");
  document.head.innerHTML = "";
});
