// Owns the mark on a line of code that stands in the page, not in an editor. The code's text stays what it is.

import { el } from "../dom";

/** Wrap a line, counted from 1, in a mark; answers how to take it away. */
export function markLine(pre: HTMLElement, line: number): () => void {
  const [from, to] = bounds(pre.textContent ?? "", line);
  const range = document.createRange();
  const start = pointAt(pre, from);
  const end = pointAt(pre, to);
  if (to <= from || !start || !end) return () => undefined;
  const before = [...pre.childNodes].map((node) => node.cloneNode(true));
  range.setStart(...start);
  range.setEnd(...end);
  const mark = el("mark", { class: "tl-failed-line", title: `line ${line} failed` });
  mark.append(range.extractContents());
  range.insertNode(mark);
  return () => pre.replaceChildren(...before);
}

function bounds(text: string, line: number): [number, number] {
  const lines = text.split("\n");
  const from = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
  return [from, from + (lines[line - 1] ?? "").length];
}

function pointAt(root: HTMLElement, offset: number): [Node, number] | null {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  let left = offset;
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const { length } = node as Text;
    if (left <= length) return [node, left];
    left -= length;
  }
  return null;
}
