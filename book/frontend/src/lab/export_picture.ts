// Owns an experiment as a picture in a file: an SVG whole in itself, with its title, its numbers and where they come from. Pure.

import type { AnyAnswer, Entry } from "./app_contract";
import type { CompareAnswer, Guess, HeadMapAnswer, HeadsAnswer, LensAnswer, PatchMapAnswer } from "./contract";
import { blend, css, inkOn, parseHex, type Rgb } from "./drawing/colours";
import { percent, plain, signed, visible } from "./drawing/words";
import { isBeforeAfter } from "./history_list";
import { headLabels, layerLabels } from "./modes/run_facts";
import { streamLabels } from "./modes/maps";

interface Grid {
  readonly title: string;
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  readonly values: readonly (readonly (number | null)[])[];
  readonly scale: "diverging" | "sequential";
  readonly most: number;
  readonly write: (value: number, row: number, column: number) => string;
}

const FONT = "font-family='system-ui, sans-serif'";
const ENDS = { negative: "#2166ac", positive: "#b5501b", zero: "#efece5", strong: "#14506f" } as const;
const INK = { text: "#24272c", muted: "#595f69", paper: "#ffffff", clean: "#3d6c9c", patched: "#975006", corrupted: "#7a5c9a" } as const;

/** The picture of an experiment, or null where there is nothing to draw. */
export function svgOf(entry: Entry): string | null {
  if (entry.answer === null) return null;
  const grid = gridOf(entry.answer);
  const body = grid ? drawGrid(grid) : isBeforeAfter(entry.answer) ? drawBars(entry.answer) : null;
  return body && framed(entry, body);
}

interface Body {
  readonly title: string;
  readonly inside: string;
  readonly width: number;
  readonly height: number;
}

function framed(entry: Entry, body: Body): string {
  const { question, name } = entry;
  const width = Math.max(body.width, 480);
  const height = body.height + 92;
  const source = `${name} · ${question.model} · “${visible(question.prompt).slice(0, 80)}”`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escaped(body.title)}</title><desc>${escaped(entry.answer?.explain ?? "")}</desc>`,
    `<rect width="${width}" height="${height}" fill="${INK.paper}"/>`,
    `<text x="16" y="28" ${FONT} font-size="16" font-weight="650" fill="${INK.text}">${escaped(body.title)}</text>`,
    `<g transform="translate(16 48)">${body.inside}</g>`,
    `<text x="16" y="${height - 14}" ${FONT} font-size="11" fill="${INK.muted}">${escaped(source)}</text>`,
    "</svg>",
  ].join("\n");
}

function gridOf(answer: AnyAnswer): Grid | null {
  if ("recovered" in answer && Array.isArray(answer.recovered)) {
    const map = answer as PatchMapAnswer;
    const columns = map.over === "head" ? headLabels(map.recovered[0]?.length ?? 0) : map.tokens.map(visible);
    return { title: `Way back to ${visible(map.answer)}`, rows: layerLabels(map.recovered.length), columns, values: map.recovered, scale: "diverging", most: 1, write: (value) => plain(value) };
  }
  if ("effect" in answer && Array.isArray(answer.effect)) {
    const { effect, token } = answer as HeadMapAnswer;
    return { title: `What each head does for ${visible(token)} (logit when it is off)`, rows: layerLabels(effect.length), columns: headLabels(effect[0]?.length ?? 0), values: effect, scale: "diverging", most: mostOf(effect), write: (value) => signed(value) };
  }
  if ("followed_rank" in answer) {
    const { token, p, kind } = answer as LensAnswer;
    return { title: `The ${kind} lens`, rows: streamLabels(p.length), columns: (p[0] ?? []).map((_, at) => String(at)), values: p, scale: "sequential", most: 1, write: (_value, row, column) => visible(token[row]?.[column] ?? "") };
  }
  if ("scores" in answer && !("kind" in answer)) {
    const { scores } = answer as HeadsAnswer;
    const kind = scores["induction"] ? "induction" : (Object.keys(scores)[0] ?? "");
    const values = scores[kind] ?? [];
    return { title: `Score of each head: ${kind}`, rows: layerLabels(values.length), columns: headLabels(values[0]?.length ?? 0), values, scale: "sequential", most: 1, write: (value) => plain(value) };
  }
  if (!("pairs" in answer)) return null;
  const { stream, pairs, a } = answer as CompareAnswer;
  return { title: "Distance of the two streams", rows: streamLabels(stream.length), columns: pairs.map(([left]) => visible(a.tokens[left]?.text ?? "")), values: stream, scale: "sequential", most: mostOf(stream), write: (value) => plain(value) };
}

function drawGrid({ title, rows, columns, values, scale, most, write }: Grid): Body {
  const [cellWidth, cellHeight, left] = [58, 20, 56];
  const ends = { negative: rgb(ENDS.negative), positive: rgb(ENDS.positive), zero: rgb(ENDS.zero), strong: rgb(ENDS.strong) };
  const cells = values.flatMap((line, row) =>
    line.map((value, column) => {
      const at = `x="${left + column * cellWidth}" y="${row * cellHeight}"`;
      if (value === null) return `<text x="${left + (column + 0.5) * cellWidth}" y="${row * cellHeight + 14}" ${FONT} font-size="10" text-anchor="middle" fill="${INK.muted}">·</text>`;
      const end = scale === "sequential" ? ends.strong : value < 0 ? ends.negative : ends.positive;
      const ground = blend(ends.zero, end, most > 0 ? Math.min(1, Math.abs(value) / most) ** 0.8 : 0);
      const word = [...write(value, row, column)];
      const text = word.length > 9 ? `${word.slice(0, 8).join("")}…` : word.join("");
      return `<rect ${at} width="${cellWidth - 1}" height="${cellHeight - 1}" fill="${css(ground)}"/><text x="${left + (column + 0.5) * cellWidth}" y="${row * cellHeight + 14}" ${FONT} font-size="10.5" text-anchor="middle" fill="${inkOn(ground)}">${escaped(text)}</text>`;
    }),
  );
  const names = rows.map((name, row) => `<text x="${left - 6}" y="${row * cellHeight + 14}" ${FONT} font-size="10.5" text-anchor="end" fill="${INK.muted}">${escaped(name)}</text>`);
  const below = rows.length * cellHeight + 14;
  const heads = columns.map((name, column) => `<text x="${left + (column + 0.5) * cellWidth}" y="${below}" ${FONT} font-size="10.5" text-anchor="middle" fill="${INK.muted}">${escaped(name.slice(0, 9))}</text>`);
  return { title, inside: [...cells, ...names, ...heads].join("\n"), width: left + columns.length * cellWidth + 32, height: below + 10 };
}

function drawBars(answer: AnyAnswer): Body {
  if (!isBeforeAfter(answer)) return { title: "", inside: "", width: 0, height: 0 };
  const columns: readonly { readonly words: string; readonly colour: string; readonly guesses: readonly Guess[] }[] = [
    ...("corrupted" in answer && Array.isArray(answer.corrupted) ? [{ words: "△ corrupted run", colour: INK.corrupted, guesses: answer.corrupted as readonly Guess[] }] : []),
    { words: "○ clean run", colour: INK.clean, guesses: answer.clean },
    { words: "◆ patched run", colour: INK.patched, guesses: answer.patched },
  ];
  const [width, step] = [260, 26];
  const most = Math.max(...columns.map(({ guesses }) => guesses.length));
  const inside = columns.map(({ words, colour, guesses }, at) => {
    const rows = guesses.map(({ token, p }, row) => {
      const y = 24 + row * step;
      const long = Math.max(1, Math.round(100 * Math.min(1, Math.max(0, p))));
      return `<text x="0" y="${y + 13}" ${FONT} font-size="12" fill="${INK.text}">${escaped(visible(token).slice(0, 12))}</text><rect x="84" y="${y + 3}" width="${long}" height="12" fill="${colour}"/><text x="${90 + long}" y="${y + 13}" ${FONT} font-size="11" fill="${INK.muted}">${percent(p)}</text>`;
    });
    return `<g transform="translate(${at * width} 0)"><text x="0" y="12" ${FONT} font-size="12" font-weight="650" fill="${colour}">${words}</text>${rows.join("")}</g>`;
  });
  const title = `${visible(answer.token)}: ${percent(answer.clean_p)} → ${percent(answer.patched_p)}`;
  return { title, inside: inside.join("\n"), width: columns.length * width + 16, height: 30 + most * step };
}

function mostOf(values: readonly (readonly (number | null)[])[]): number {
  return values.reduce((most, row) => row.reduce<number>((inner, value) => Math.max(inner, Math.abs(value ?? 0)), most), 0);
}

function rgb(hex: string): Rgb {
  return parseHex(hex) ?? [0, 0, 0];
}

/** Tokens are foreign: in an SVG they must be letters and nothing else, and no character that XML forbids. */
export function escaped(text: string): string {
  const legal = text.replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "�");
  return legal.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

/** The same picture in pixels, twice as fine as on the page. */
export async function pngOf(svg: string): Promise<Blob> {
  const image = new Image();
  const url = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  try {
    image.src = url;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [2 * image.width, 2 * image.height];
    canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise<Blob | null>((done) => canvas.toBlob(done, "image/png"));
    if (!blob) throw new Error("the browser made no picture: expected PNG data, got none; take the SVG");
    return blob;
  } finally {
    URL.revokeObjectURL(url);
  }
}
