import { describe, expect, test } from "vitest";
import "../src/formulas/formulas";
import type { FormulasPart, Outcome } from "../src/formulas/contract";
import { delimited, hasFormula, piecesOf } from "../src/formulas/pieces";
import { setFormula } from "../src/formulas/setting";

const { typeset, setAll } = window.tlParts?.formulas as FormulasPart;

function problemOf(outcome: Outcome): string {
  return "problem" in outcome ? outcome.problem : `was set: ${outcome.html.slice(0, 80)}`;
}

function elementOf(html: string): HTMLElement {
  const element = document.createElement("div");
  element.innerHTML = html;
  typeset(element);
  return element;
}

describe("formulas in a text", () => {
  test.each([
    ["a \\(x\\) b", ["a ", "x", " b"]],
    ["\\[x_1\\]", ["x_1"]],
    ["\\begin{align}a&=b\\\\[2pt]c\\end{align}!", ["\\begin{align}a&=b\\\\[2pt]c\\end{align}", "!"]],
    ["\\begin{matrix}\\begin{matrix}1\\end{matrix}\\end{matrix}", ["\\begin{matrix}\\begin{matrix}1\\end{matrix}\\end{matrix}"]],
    ["one \\\\[2pt] two", ["one \\\\[2pt] two"]],
    ["open \\(x", ["open \\(x"]],
    ["\\begin{a}x", ["\\begin{a}x"]],
  ])("%s is taken apart", (text, expected) => {
    expect(piecesOf(text).map((piece) => (piece.kind === "text" ? piece.text : piece.tex))).toEqual(expected);
  });

  test.each([
    ["$$x$$", "\\[x\\]"],
    ["$\\displaystyle x$", "\\(\\displaystyle x\\)"],
    ["\\begin{align}a&=b\\end{align}", "\\begin{align}a&=b\\end{align}"],
    ["x^2", "\\[x^2\\]"],
  ])("%s is marked as %s", (source, shown) => {
    expect(delimited(source)).toBe(shown);
  });

  test("are looked for before anything is loaded", () => {
    expect(hasFormula("\\[\\hat{h} = \\frac{a}{b}\\]")).toBe(true);
    expect(hasFormula("nothing, for $5")).toBe(false);
  });
});

describe("a formula", () => {
  test("becomes HTML for the eye and MathML for the ear, with what was typed", () => {
    const element = elementOf("Here \\(\\hat{h} = \\frac{a}{b}\\) and\\[\\begin{aligned}a&=b\\end{aligned}\\]");
    expect(element.querySelectorAll(".katex-html[aria-hidden=true]")).toHaveLength(2);
    expect(element.querySelectorAll("math")).toHaveLength(2);
    expect(element.querySelector("annotation")?.textContent).toBe("\\hat{h} = \\frac{a}{b}");
    expect(element.querySelectorAll(".katex-display")).toHaveLength(1);
    expect(element.firstChild?.nodeValue).toBe("Here ");
  });

  test("is not looked for in code, nor set twice", () => {
    const element = elementOf("<code>\\(x\\)</code><p>\\(y\\) \\(\\nosuch\\)</p>");
    const before = element.innerHTML;
    typeset(element);
    expect(element.innerHTML).toBe(before);
    expect(element.querySelector("code")?.textContent).toBe("\\(x\\)");
    expect(element.querySelectorAll(".katex")).toHaveLength(1);
  });

  test.each(["align", "equation", "gather"])("in %s gets no number that nothing refers to", (name) => {
    const outcome = setFormula(`\\begin{${name}}a=b\\end{${name}}`, true);
    expect(problemOf(outcome)).toContain("was set");
    expect("html" in outcome && outcome.html).not.toMatch(/eqn-num/);
  });

  test("that cannot be set stays as it was typed and says why", () => {
    const element = elementOf("<p>So \\(\\nosuch{x}\\) but \\(y\\).</p>");
    const kept = element.querySelector<HTMLElement>(".tl-unset");
    expect(kept?.textContent).toBe("\\(\\nosuch{x}\\)");
    expect(kept?.title).toMatch(/^Formula not set: Undefined control sequence: \\nosuch at position 1/);
    expect(element.querySelectorAll(".katex")).toHaveLength(1);
  });
});

describe("hostile LaTeX", () => {
  test.each([
    "\\href{javascript:a()}{x}",
    "\\url{javascript:a()}",
    "\\style{position:fixed}{x}",
    "\\class{tl-button}{x}",
    "\\htmlClass{tl-button}{x}",
    "\\htmlId{a}{x}",
    "\\htmlStyle{position:fixed}{x}",
    "\\htmlData{a=b}{x}",
    "\\includegraphics{https://elsewhere.example/a.png}",
    "\\require{html}",
    "\\let\\a=\\href \\a{x}{y}",
    "\\def\\a{\\href}\\a{x}{y}",
    "\\newcommand{\\a}{x}\\a",
    "\\gdef\\x{}",
  ])("%s is not set, live or stored", (tex) => {
    const element = elementOf("<p></p>");
    (element.firstElementChild as HTMLElement).textContent = `\\(${tex}\\)`;
    typeset(element);
    expect(element.querySelector(".tl-unset")?.textContent).toBe(`\\(${tex}\\)`);
    expect(element.querySelectorAll("a, img, .katex, .tl-button")).toHaveLength(0);
    for (const kind of ["inline", "display", "output"] as const) {
      const [outcome] = setAll([{ kind, source: kind === "output" ? `$${tex}$` : tex }]);
      expect(problemOf(outcome as Outcome)).toMatch(/^expected /);
    }
  });

  test.each([
    ["a chain of definitions", "\\def\\a{xxxxxxxxxx}\\def\\b{\\a\\a\\a\\a}\\b\\b\\b"],
    ["an endless definition", "\\def\\a{\\a\\a}\\a"],
    ["nesting without end", "{".repeat(4000) + "}".repeat(4000)],
    ["nested roots", "\\sqrt{".repeat(900) + "}".repeat(900)],
    ["a formula as long as a book", "x".repeat(200_000)],
    ["a leap to the left", "\\hspace{-9999em}x"],
    ["a leap in points", "\\kern{-99999pt}x"],
    ["a fall", "\\raisebox{-9999em}{x}"],
  ])("%s is refused soon", (_, tex) => {
    const start = performance.now();
    expect(problemOf(setFormula(tex, false))).toMatch(/^expected /);
    expect(performance.now() - start).toBeLessThan(2000);
  });

  test.each(["\\rule{9999em}{9999em}", "\\hspace{9999em}x", "\\raisebox{9999em}{x}", "\\rule{1e9pt}{1em}"])("%s is cut to a size that a page bears", (tex) => {
    const outcome = setFormula(tex, false);
    expect(problemOf(outcome)).toContain("was set");
    // The MathML repeats what was typed, in a box of one pixel.
    const drawn = "html" in outcome ? outcome.html.slice(outcome.html.indexOf("katex-html")) : "";
    const lengths = [...drawn.matchAll(/(-?[\d.]+)em/g)].map(([, length]) => Number(length));
    expect(Math.max(...lengths)).toBeLessThanOrEqual(100);
  });

  test("brings no markup of its own", () => {
    const [output] = setAll([{ kind: "output", source: '<img src=x onerror=a()> $\\text{<img src=y onerror=b()>}$' }]);
    const element = document.createElement("div");
    element.innerHTML = "html" in (output as Outcome) ? (output as { html: string }).html : "";
    expect(element.querySelectorAll("img")).toHaveLength(0);
    expect(element.querySelectorAll(".katex")).toHaveLength(1);
    expect(element.textContent).toContain("<img src=x onerror=a()>");
  });
});

test("a formula has no empty attribute, which Firefox would call an error", () => {
  const outcome = setFormula("\\begin{split}a\\\\b\\end{split}", true);
  expect("html" in outcome && outcome.html).toContain("<mtable");
  expect("html" in outcome && outcome.html).not.toContain('columnspacing=""');
});
