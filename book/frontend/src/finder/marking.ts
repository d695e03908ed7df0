// Owns marking found words in a text, as elements. Refuses HTML.

import { el, type Child } from "../dom";

/** The text with every word that begins with one of `words` marked. */
export function marked(text: string, words: readonly string[]): Child[] {
  const known = words.filter((word) => word !== "").sort((a, b) => b.length - a.length);
  if (known.length === 0) return [text];
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}])(${known.map(escaped).join("|")})`, "giu");
  const pieces: Child[] = [];
  let position = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > position) pieces.push(text.slice(position, match.index));
    pieces.push(el("mark", {}, match[0]));
    position = match.index + match[0].length;
  }
  if (position < text.length) pieces.push(text.slice(position));
  return pieces;
}

function escaped(word: string): string {
  // Under the flag "u" only what means something may be escaped; a hyphen means nothing here.
  return word.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
}
