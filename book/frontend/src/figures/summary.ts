// Owns what a figure is called for somebody who does not see it: its title, and the first sentence of its text.

const LONGEST = 240;

export function nameOfFigure(title: string | null, twin: string): string {
  const sentence = firstSentence(twin);
  if (title === null) return `Interactive figure: ${sentence || "see the text below it"}`;
  return `Interactive figure: ${title}${sentence === "" ? "" : `. ${sentence}`}`;
}

/** Up to a full stop that a capital follows; a decimal point ends nothing. */
export function firstSentence(text: string): string {
  const line = text.trim().split("\n", 1)[0] ?? "";
  const end = /[.!?](?=\s+["'“]?\p{Lu})/u.exec(line);
  const sentence = end ? line.slice(0, end.index + 1) : line;
  return sentence.length <= LONGEST ? sentence : `${sentence.slice(0, LONGEST).replace(/\s+\S*$/, "")} …`;
}
