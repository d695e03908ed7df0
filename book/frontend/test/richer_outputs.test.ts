import { describe, expect, test } from "vitest";
import { makeSortable, sorted } from "../src/figures/tables";
import type { Question } from "../src/live/contract";
import { questionView } from "../src/live/input_view";
import { latexView, markdownView } from "../src/live/markdown";
import { chooseRendering } from "../src/live/rendering";

describe("Markdown", () => {
  test("keeps formulas from being read as emphasis", () => {
    const view = markdownView("Here $a_1 b_1$ and *b*.\n\n$$\nx_1 < y_2\n$$\n\nIt costs $5 and $6.");
    expect(view.textContent).toContain("\\(a_1 b_1\\)");
    expect(view.textContent).toContain("\\[\nx_1 < y_2\n\\]");
    expect(view.textContent).toContain("costs $5 and $6.");
    expect(view.querySelectorAll("em")).toHaveLength(1);
  });

  test("has tables and lists, and nothing that acts", () => {
    const view = markdownView('| a |\n|---|\n| 1 |\n\n- x\n\n<img src=x onerror="a()"> [go](javascript:alert(1)) <script>a()</script> $<img src=y onerror=b()>$');
    expect(view.querySelectorAll("table, li")).toHaveLength(2);
    expect(view.innerHTML).not.toMatch(/onerror=(?!b)|javascript:|<script/);
    expect(view.querySelectorAll("img[src], a[href]")).toHaveLength(0);
  });
});

test("LaTeX is text until its formulas are set", () => {
  expect(latexView("$<b>x</b>$").querySelector("b")).toBeNull();
});

test("JavaScript outputs are for the isolated frame", () => {
  const rendering = chooseRendering({ "application/javascript": "document.title = '</script>'", "text/plain": "<Javascript>" });
  expect(rendering).toEqual({ kind: "frame", html: "<script>document.title = '<\\/script>'</script>", twin: "<Javascript>" });
});

describe("tables", () => {
  function table(): HTMLTableElement {
    const box = document.createElement("div");
    box.innerHTML = `<table class="dataframe"><thead><tr><th></th><th>n</th></tr></thead>
      <tbody><tr><th>a</th><td>10</td></tr><tr><th>b</th><td>NaN</td></tr><tr><th>c</th><td>-9</td></tr></tbody></table>`;
    const made = box.querySelector("table") as HTMLTableElement;
    makeSortable(made);
    return made;
  }

  test("are sorted by their headers: up, down, as they came", () => {
    const made = table();
    const head = made.tHead?.rows[0]?.cells[1] as HTMLTableCellElement;
    const order = (): string => [...(made.tBodies[0]?.rows ?? [])].map((row) => row.cells[0]?.textContent).join("");
    const seen = [head.getAttribute("aria-sort"), order()];
    for (let press = 0; press < 3; press += 1) {
      head.querySelector("button")?.click();
      seen.push(head.getAttribute("aria-sort"), order());
    }
    expect(seen).toEqual(["none", "abc", "ascending", "cab", "descending", "acb", "none", "abc"]);
    expect(made.tHead?.rows[0]?.cells[0]?.querySelector("button")?.textContent).toBe("Row labels");
    expect(made.caption?.textContent).toBe("Table of 3 rows and 1 column; its headers sort it.");
  });

  test("with joined cells only get a caption", () => {
    const box = document.createElement("div");
    box.innerHTML = '<table class="dataframe"><thead><tr><th colspan="2">x</th></tr></thead><tbody><tr><td>1</td></tr><tr><td>2</td></tr></tbody></table>';
    makeSortable(box.querySelector("table") as HTMLTableElement);
    expect(box.querySelector("button")).toBeNull();
    expect(box.querySelector("caption")?.textContent).toBe("Table of 2 rows and 0 columns.");
  });

  test.each([
    [["10", "9", "1,000", "-1.5e3"], ["-1.5e3", "9", "10", "1,000"]],
    [["12 %", "3 %"], ["3 %", "12 %"]],
    [["b", "a10", "a9"], ["a9", "a10", "b"]],
    [["1", "", "0"], ["0", "1", ""]],
  ])("%j becomes %j", (texts, inOrder) => {
    expect(sorted(texts, (text) => text, "ascending")).toEqual(inOrder);
  });
});

describe("a question of the cell", () => {
  function ask(isSecret: boolean): { box: HTMLElement; said: string[]; end: () => void; field: HTMLInputElement; form: HTMLFormElement } {
    const said: string[] = [];
    let end = (): void => undefined;
    const over = new Promise<void>((resolve) => (end = resolve));
    const question: Question = { prompt: "Name? ", isSecret, over, answer: (value) => said.push(value) };
    const box = document.createElement("div");
    box.append(questionView(question, new AbortController().signal));
    document.body.replaceChildren(box);
    return { box, said, end, field: box.querySelector("input") as HTMLInputElement, form: box.querySelector("form") as HTMLFormElement };
  }

  test("is answered once, and the answer stays beside it", () => {
    const { box, said, field, form } = ask(false);
    expect(field.labels?.[0]?.textContent).toBe("Name? ");
    field.value = "Ada";
    form.dispatchEvent(new Event("submit", { cancelable: true }));
    form.dispatchEvent(new Event("submit", { cancelable: true }));
    expect(said).toEqual(["Ada"]);
    expect(box.textContent).toBe("Name? Ada");
  });

  test("a password is never shown", () => {
    const { box, said, field, form } = ask(true);
    expect(field.type).toBe("password");
    field.value = "secret";
    form.dispatchEvent(new Event("submit", { cancelable: true }));
    expect(said).toEqual(["secret"]);
    expect(box.textContent).toBe("Name? ••••••");
  });

  test("ends with the run", async () => {
    const { box, end } = ask(false);
    end();
    await Promise.resolve();
    expect(box.textContent).toBe("Name? (not answered)");
  });
});
