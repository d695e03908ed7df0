import katex from "katex";
import { beforeEach, describe, expect, test } from "vitest";
import type { Cell } from "../src/cells/cell";
import { notebookOf, partsOf, scriptOf } from "../src/cells/export";

const PAGE = `<article><section>
  <h1>Heads<a class="headerlink" href="#heads">#</a></h1>
  <div class="tl-kernel-bar">Run all</div>
  <p>A <strong>head</strong> reads <code>pos</code> and <span class="math">x^2</span>, see <a href="https://a.example/b">here</a>.</p>
  <ul><li><p>one</p></li><li>two<ol><li>deep</li></ol></li></ul>
  <div class="cell tag_raises-exception"><div class="cell_input"><pre>1 / 0</pre></div><div class="cell_output"><p>not prose</p></div></div>
  <section><h2>Next</h2><div class="math">a</div><div class="admonition"><p class="admonition-title">Note</p><p>mind</p></div>
  <table><tr><th>a</th><th>b</th></tr><tr><td>1|2</td><td>3</td></tr></table>
  <div class="highlight"><pre>shell\n</pre></div>
  <div class="cell"><div class="cell_input"><pre>x = 1</pre></div></div></section>
</section></article>`;

let cells: Cell[];

beforeEach(() => {
  document.body.innerHTML = PAGE;
  for (const math of document.querySelectorAll(".math")) math.innerHTML = katex.renderToString(math.textContent ?? "", { displayMode: math.tagName === "DIV" });
  const texts = ["1 / 0", "x = 'mine'\nx"];
  cells = [...document.querySelectorAll("div.cell")].map((element, index) => ({ element, code: { text: texts[index] } }) as unknown as Cell);
});

describe("the page as a file", () => {
  test("keeps prose and cells in their order", () => {
    expect(partsOf(cells)).toEqual([
      { kind: "prose", text: "# Heads\n\nA **head** reads `pos` and $x^2$, see [here](https://a.example/b).\n\n- one\n- two\n  1. deep" },
      { kind: "code", text: "1 / 0", tags: ["raises-exception"] },
      { kind: "prose", text: "## Next\n\n$$\na\n$$\n\n> Note\n> \n> mind\n\n| a | b |\n| --- | --- |\n| 1\\|2 | 3 |\n\n```\nshell\n```" },
      { kind: "code", text: "x = 'mine'\nx", tags: [] },
    ]);
  });

  test("has the code that the page leaves out, in its place", () => {
    const [first] = document.querySelectorAll("div.cell");
    const data = (code: string, tags: string): string => `<script type="application/json" class="tl-left-out" data-tags="${tags}">${JSON.stringify(code)}</script>`;
    first?.insertAdjacentHTML("beforebegin", data("import os\nx = '<b>'", "remove-cell setup"));
    first?.insertAdjacentHTML("afterend", `<div class="cell tag_remove-input"><div class="cell_output"><p>not prose</p></div>${data("plot()", "remove-input")}</div>`);
    const code = partsOf(cells).filter(({ kind }) => kind === "code");
    expect(code).toEqual([
      { kind: "code", text: "import os\nx = '<b>'", tags: ["remove-cell", "setup"] },
      { kind: "code", text: "1 / 0", tags: ["raises-exception"] },
      { kind: "code", text: "plot()", tags: ["remove-input"] },
      { kind: "code", text: "x = 'mine'\nx", tags: [] },
    ]);
    expect(notebookOf(partsOf(cells))).not.toContain("not prose");
  });

  test("is a notebook with tags and without outputs", () => {
    const notebook = JSON.parse(notebookOf(partsOf(cells)));
    expect(notebook).toMatchObject({ nbformat: 4, nbformat_minor: 5, metadata: { kernelspec: { name: "python3" } } });
    expect(notebook.cells.map((cell: { cell_type: string }) => cell.cell_type)).toEqual(["markdown", "code", "markdown", "code"]);
    expect(notebook.cells[1]).toMatchObject({ metadata: { tags: ["raises-exception"] }, outputs: [], execution_count: null });
    expect(notebook.cells[3].source).toEqual(["x = 'mine'\n", "x"]);
  });

  test("is a script whose prose is comments", () => {
    const script = scriptOf(partsOf(cells));
    expect(script).toContain("# %% [markdown]\n# # Heads\n#\n# A **head**");
    expect(script).toContain("# %%\nx = 'mine'\nx\n");
    for (const line of script.split("\n")) expect(line).toMatch(/^#|^1 \/ 0$|^x|^$/);
  });
});
