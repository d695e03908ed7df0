// Owns the page as a file of the reader's: a notebook or a script, with their edits. Outputs stay behind.

import type { PageConfig } from "../page_config";
import type { Cell } from "./cell";
import { blockMarkdown } from "./markdown";

export type Part =
  | { readonly kind: "prose"; readonly text: string }
  | { readonly kind: "code"; readonly text: string; readonly tags: readonly string[] };

/** Code that the build left out of sight and into the page as data. */
const LEFT_OUT = "script.tl-left-out";

export function exportPage(config: PageConfig, cells: readonly Cell[], format: "notebook" | "script"): void {
  const parts = partsOf(cells);
  const name = config.page.split("/").at(-1) || "page";
  if (format === "notebook") download(`${name}.ipynb`, notebookOf(parts), "application/x-ipynb+json");
  else download(`${name}.py`, scriptOf(parts), "text/x-python");
}

/** The page in its order: prose between the cells is joined. */
export function partsOf(cells: readonly Cell[]): Part[] {
  const known = new Map(cells.map((cell) => [cell.element, cell]));
  const parts: Part[] = [];
  const say = (text: string): void => {
    const last = parts.at(-1);
    if (text === "") return;
    if (last?.kind === "prose") parts[parts.length - 1] = { kind: "prose", text: `${last.text}\n\n${text}` };
    else parts.push({ kind: "prose", text });
  };
  const walk = (element: Element): void => {
    const cell = known.get(element as HTMLElement);
    if (cell) parts.push({ kind: "code", text: cell.code.text, tags: tagsOf(element) });
    else if (element.matches(LEFT_OUT)) parts.push({ kind: "code", ...leftOut(element as HTMLElement) });
    // Only the output of such a cell is on the page, and outputs stay behind.
    else if (element.matches("div.cell")) element.querySelectorAll(LEFT_OUT).forEach(walk);
    else if (element.querySelector(`div.cell, section, ${LEFT_OUT}`)) [...element.children].forEach(walk);
    else say(blockMarkdown(element));
  };
  const first = cells[0]?.element;
  const root = first?.closest("article, main, body");
  if (root) [...root.children].forEach(walk);
  return parts;
}

/** Notebook format 4.5, with neither outputs nor counts. */
export function notebookOf(parts: readonly Part[]): string {
  const cells = parts.map((part, index) => {
    const common = { id: `part-${index + 1}`, source: lines(part.text) };
    if (part.kind === "prose") return { cell_type: "markdown", metadata: {}, ...common };
    const metadata = part.tags.length > 0 ? { tags: part.tags } : {};
    return { cell_type: "code", execution_count: null, metadata, outputs: [], ...common };
  });
  const metadata = {
    kernelspec: { display_name: "Python 3", language: "python", name: "python3" },
    language_info: { name: "python" },
  };
  return `${JSON.stringify({ cells, metadata, nbformat: 4, nbformat_minor: 5 }, null, 1)}\n`;
}

/** Cells between `# %%` lines, which editors know; prose as comments. */
export function scriptOf(parts: readonly Part[]): string {
  const texts = parts.map((part) =>
    part.kind === "prose" ? `# %% [markdown]\n${part.text.replace(/^/gm, "# ").replace(/ +$/gm, "")}` : `# %%\n${part.text}`,
  );
  return `${texts.join("\n\n")}\n`;
}

function leftOut(data: HTMLElement): { text: string; tags: readonly string[] } {
  return { text: String(JSON.parse(data.textContent ?? '""')), tags: (data.dataset["tags"] ?? "").split(" ").filter(Boolean) };
}

function lines(text: string): string[] {
  return text.split(/(?<=\n)/);
}

function tagsOf(element: Element): string[] {
  return [...element.classList].filter((name) => name.startsWith("tag_")).map((name) => name.slice("tag_".length));
}

/** A link to a blob works from a server and from `file://` alike. */
function download(name: string, text: string, type: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // The browser reads the blob after this turn.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
