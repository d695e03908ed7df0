// Owns turning the page's prose back into Markdown. Pure; what it does not know becomes its plain text.

import { typedIn } from "../figures/formula_text";

/** Parts of the page that are no prose. */
const SKIPPED = "script, style, button, .headerlink, .tl-kernel-bar, .tl-notice, .cell, [hidden], nav, iframe";

/** The Markdown of one block; empty for what is no prose. */
export function blockMarkdown(element: Element): string {
  if (element.matches(SKIPPED)) return "";
  const level = /^H([1-6])$/.exec(element.tagName)?.[1];
  if (level) return `${"#".repeat(Number(level))} ${inline(element)}`;
  if (element.matches(".math")) return `$$\n${tex(element)}\n$$`;
  switch (element.tagName) {
    case "PRE":
      return `\`\`\`\n${(element.textContent ?? "").replace(/\n$/, "")}\n\`\`\``;
    case "UL":
    case "OL":
      return items(element);
    case "BLOCKQUOTE":
      return quoted(blocks(element));
    case "TABLE":
      return table(element as HTMLTableElement);
    case "P":
    case "DT":
    case "FIGCAPTION":
      return inline(element);
    default:
      break;
  }
  if (element.matches(".admonition")) return quoted(blocks(element));
  return hasBlocks(element) ? blocks(element) : inline(element);
}

function blocks(element: Element): string {
  return [...element.children].map(blockMarkdown).filter((text) => text !== "").join("\n\n");
}

function hasBlocks(element: Element): boolean {
  return element.querySelector(":scope > :is(p, div, ul, ol, pre, table, section, h1, h2, h3, h4, blockquote, figure, dl)") !== null;
}

function items(list: Element): string {
  return [...list.children]
    .map((item, index) => {
      const mark = list.tagName === "OL" ? `${index + 1}. ` : "- ";
      const text = hasBlocks(item) ? withLeadingText(item) : inline(item);
      return mark + text.replaceAll("\n", `\n${" ".repeat(mark.length)}`);
    })
    .join("\n");
}

/** A list item may begin with bare words before its nested list. */
function withLeadingText(item: Element): string {
  const lead = [...item.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).map((node) => node.textContent?.trim() ?? "");
  return [lead.join(" ").trim(), blocks(item)].filter((text) => text !== "").join("\n");
}

function quoted(text: string): string {
  return text === "" ? "" : text.replace(/^/gm, "> ");
}

function table(element: HTMLTableElement): string {
  const rows = [...element.rows].map((row) => [...row.cells].map((cell) => inline(cell).replaceAll("|", "\\|")));
  const [head = [], ...body] = rows;
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...body.map(line)].join("\n");
}

function inline(element: Element): string {
  return [...element.childNodes].map(inlineNode).join("").replace(/\s+/g, " ").trim();
}

function inlineNode(node: Node): string {
  if (node.nodeType === Node.TEXT_NODE) return node.textContent ?? "";
  if (!(node instanceof Element) || node.matches(SKIPPED)) return "";
  if (node.matches(".math")) return `$${tex(node)}$`;
  const text = inline(node);
  if (text === "") return node.matches("img[alt]") ? (node.getAttribute("alt") ?? "") : " ";
  switch (node.tagName) {
    case "STRONG":
    case "B":
      return `**${text}**`;
    case "EM":
    case "I":
      return `*${text}*`;
    case "CODE":
      return `\`${text}\``;
    case "A":
      return `[${text}](${(node as HTMLAnchorElement).href})`;
    default:
      return spaced(node, text);
  }
}

/** Keep the blanks around words that stand in an element of their own. */
function spaced(node: Element, text: string): string {
  const raw = node.textContent ?? "";
  return `${/^\s/.test(raw) ? " " : ""}${text}${/\s$/.test(raw) ? " " : ""}`;
}

function tex(element: Element): string {
  return typedIn(element) ?? (element.textContent ?? "").trim();
}
