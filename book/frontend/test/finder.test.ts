import { describe, expect, test } from "vitest";
import { matching } from "../src/finder/glossary_panel";
import { marked } from "../src/finder/marking";
import { parseIndex, SearchIndex, wordsOf, type Group } from "../src/finder/search_index";
import { parseGlossary, type GlossaryEntry } from "../src/reading/glossary_data";

const ROWS = [
  ["lesson", "lessons/tour", "look", "Look: when it knows", "Ten minutes", "The logit lens reads the residual stream.", "layers prediction"],
  ["lesson", "lessons/ablation", "", "Ablation: take a part away", "", "You remove one part of the model.", "attention heads control"],
  ["term", "book/glossary", "term-logit-lens", "logit lens", "Glossary", "What the model would say.", ""],
  ["api", "book/reference/looking", "tlab.logit_lens", "tlab.logit_lens", "Looking", "Read the stream after each layer.", ""],
  ["error", "book/errors", "tlab-unknown-model", "tlab-unknown-model: no such model", "Errors", "The name is not in the catalogue.", ""],
  ["how-to", "book/how-to/ablate", "", "ablate: take a part away", "", "Remove a part.", ""],
];
const index = new SearchIndex(parseIndex(ROWS));
const titles = (groups: Group[]): string[] => groups.flatMap(({ hits }) => hits.map(({ entry }) => entry.title));

describe("the search", () => {
  test("finds a function by its name, by its parts and by its beginning", () => {
    for (const query of ["logit_lens", "logit lens", "tlab.logit_lens", "logi"]) expect(titles(index.find(query)), query).toContain("tlab.logit_lens");
  });

  test("finds an error code whole and in part", () => {
    for (const query of ["tlab-unknown-model", "unknown-model", "unknown mod"]) expect(titles(index.find(query)), query).toContain("tlab-unknown-model: no such model");
  });

  test("forgives a slip of the finger", () => {
    for (const query of ["abaltion", "ablatoin", "atention", "residul stream"]) expect(index.find(query).length, query).toBeGreaterThan(0);
    expect(titles(index.find("abltion"))[0]).toBe("Ablation: take a part away");
  });

  test("puts a term before a mention, and groups by kind", () => {
    const groups = index.find("logit lens");
    expect(groups.map(({ kind }) => kind).sort()).toEqual(["api", "lesson", "term"]);
    expect(groups[0]?.kind).toBe("term");
  });

  test("puts what has all the words first, and adds what has any of them where that is little", () => {
    expect(titles(index.find("part control"))).toEqual(["Ablation: take a part away", "ablate: take a part away"]);
    expect(titles(index.find("ablation zebra"))).toContain("Ablation: take a part away");
    expect(index.find("zzzzqqqq")).toEqual([]);
    expect(index.find("  ¿ ")).toEqual([]);
  });

  test("a name such as constructor is only a word", () => {
    expect(index.find("constructor __proto__ toString")).toEqual([]);
  });

  test("counts a compound whole and in parts", () => {
    expect(wordsOf("d_model, top-k: x")).toEqual(["d_model", "d", "model", "top-k", "top", "k", "x"]);
  });

  test("leaves damaged rows out", () => {
    expect(parseIndex([["lesson", 7], "x", null, ["nothing", "", "", "", "", "", ""], ROWS[0]])).toHaveLength(1);
    expect(parseIndex({})).toEqual([]);
  });
});

describe("marking", () => {
  const shown = (text: string, words: string[]): string => marked(text, words).map((piece) => (typeof piece === "string" ? piece : `[${(piece as Element).textContent}]`)).join("");

  test("marks the beginnings of words and keeps every letter", () => {
    expect(shown("Logit lens, logits; analogit", ["logit"])).toBe("[Logit] lens, [logit]s; analogit");
    expect(shown("plain", [])).toBe("plain");
  });

  test("takes nothing for a pattern or for HTML", () => {
    expect(shown("tlab-unknown-model", ["tlab-unknown-model", "unknown"])).toBe("[tlab-unknown-model]");
    expect(shown("a.b <img onerror=1> (x", ["(", "a.b", "<img"])).toContain("[a.b]");
    for (const piece of marked("<b>x</b>", ["x"])) if (typeof piece !== "string") expect((piece as Element).tagName).toBe("MARK");
  });
});

describe("the glossary", () => {
  const entry = (says: string, ...terms: string[]): GlossaryEntry => ({ terms, ids: terms.map((term) => `term-${term}`), says, page: "", title: "" });
  const entries = [entry("It reads a head's words.", "attention pattern"), entry("It looks back.", "attention head", "head"), entry("A number.", "logit")];

  test("puts names that begin so first, then names, then sentences", () => {
    expect(matching(entries, "head").map(({ terms }) => terms[0])).toEqual(["attention head", "attention pattern"]);
    expect(matching(entries, "")).toHaveLength(3);
    expect(matching(entries, "nothing such")).toEqual([]);
  });

  test("leaves damaged entries out", () => {
    expect(parseGlossary([{ terms: ["x"], ids: [], says: "", page: "", title: "" }, null, entries[0]])).toEqual([entries[0]]);
    expect(parseGlossary("no")).toEqual([]);
  });
});
