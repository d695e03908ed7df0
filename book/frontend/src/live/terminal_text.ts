// Owns how a terminal's text becomes page text: colours, carriage returns, backspaces. Text nodes only.

import Anser from "anser";
import { el } from "../dom";

/** Longer streams lose their middle: no reader scrolls through it, and the page stays quick. */
export const MAX_CHARS = 200_000;

const NOT_COLOURS = new RegExp(
  [
    "\\u001b\\][^\\u0007\\u001b]*(?:\\u0007|\\u001b\\\\)", // titles and links
    "\\u001b\\[[0-?]*[ -/]*[@-ln-~]", // cursor movements: everything but ...m
    "\\u001b[@-Z\\\\^_]", // lone escapes
    "[\\u0000-\\u0007\\u000b\\u000c\\u000e-\\u001a\\u001c-\\u001f\\u007f]", // control characters
  ].join("|"),
  "g",
);

/** What a terminal would show after the carriage returns and backspaces of `text`. */
export function settle(text: string): string {
  return text
    .replace(/\r+\n/g, "\n")
    .split("\n")
    .map((line) => eraseBack(lastRewrite(line)))
    .join("\n");
}

/** A carriage return starts the line anew; a trailing one waits for what comes. */
function lastRewrite(line: string): string {
  if (!line.includes("\r")) return line;
  const trailing = /\r+$/.exec(line)?.[0] ?? "";
  const parts = line.slice(0, line.length - trailing.length).split("\r");
  return (parts.at(-1) ?? "") + trailing;
}

function eraseBack(line: string): string {
  let shown = line;
  while (/[^\b]\x08/.test(shown)) shown = shown.replace(/[^\b]\x08/, "");
  return shown.replace(/\x08/g, "");
}

/** Keep the first and last part of a text that is too long. */
export function shorten(text: string): string {
  if (text.length <= MAX_CHARS) return text;
  const half = MAX_CHARS / 2;
  return `${text.slice(0, half)}\n… the middle of this long output is left out …\n${text.slice(-half)}`;
}

/** Spans with classes for colours and weights. */
export function ansiNodes(text: string): Node[] {
  const parts = Anser.ansiToJson(text.replace(NOT_COLOURS, ""), { use_classes: true, remove_empty: true });
  return parts.map((part) => {
    const classes = [
      ...(part.fg ? [`${part.fg}-fg`] : []),
      ...(part.bg ? [`${part.bg}-bg`] : []),
      ...part.decorations.map((decoration) => `ansi-${decoration}`),
    ].filter((name) => /^ansi-[a-z-]+$/.test(name));
    const content = part.content.replace(/\r/g, "");
    return classes.length > 0 ? el("span", { class: classes.join(" ") }, content) : document.createTextNode(content);
  });
}

export function stripAnsi(text: string): string {
  return Anser.ansiToText(text.replace(NOT_COLOURS, ""));
}
