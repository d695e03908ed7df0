// Owns drawing the pipeline on a canvas, from a plan and a scene. It keeps nothing and hears nothing.

import { blend, colourOf, css, inkOn, type Palette } from "../drawing/colours";
import { fitting } from "../drawing/heat_map";
import { signed, visible } from "../drawing/words";
import { blockLeft, EMBED, END, namedRows, parsePart, readingAt, rowMiddle, type Band, type ParsedPart, type Plan } from "./layout";
import { paintLens } from "./lens_painter";
import { linesOf, strongestSources, type Scene } from "./scene";

export interface Sheet {
  readonly pen: CanvasRenderingContext2D;
  readonly plan: Plan;
  readonly scene: Scene;
  readonly palette: Palette;
  /** How far the picture is scrolled, and how wide its window is. */
  readonly scrolled: number;
  readonly room: number;
}

export const SANS = "system-ui, 'Segoe UI', Roboto, 'Noto Sans', sans-serif";
export const MONO = "ui-monospace, 'Cascadia Code', Menlo, Consolas, 'DejaVu Sans Mono', monospace";
/** Lines fainter than this are left out: they would be a fog. */
const LEAST_FLOW = 0.03;

export function paint(sheet: Sheet): void {
  const { pen, plan, room, scrolled } = sheet;
  pen.clearRect(0, 0, room, plan.height);
  pen.save();
  pen.beginPath();
  pen.rect(plan.gutter, 0, room - plan.gutter, plan.height);
  pen.clip();
  pen.translate(-scrolled, 0);
  paintGround(sheet);
  for (const layer of layersInSight(sheet)) {
    pen.globalAlpha = shown(sheet, layer);
    paintBlock(sheet, layer);
    paintFlow(sheet, layer);
  }
  pen.globalAlpha = 1;
  paintEnds(sheet);
  paintLens(sheet);
  paintChoices(sheet);
  pen.restore();
  paintGutter(sheet);
}

export function layersInSight({ plan, scrolled, room }: Sheet): number[] {
  const first = Math.max(0, Math.floor((scrolled + plan.gutter - plan.blocksLeft) / plan.block) - 1);
  const last = Math.min(plan.layers - 1, Math.ceil((scrolled + room - plan.blocksLeft) / plan.block) + 1);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => first + index);
}

/** How much of a layer is to be seen while the picture unfolds. */
export function shown({ plan, scene }: Sheet, layer: number): number {
  const reached = scene.unfolded * (plan.layers + 4) - layer;
  return Math.min(1, Math.max(0.06, reached / 4));
}

function paintGround({ pen, plan, scene, palette }: Sheet): void {
  const { stream } = plan.bands;
  pen.lineWidth = 1;
  const isDense = plan.row < 5;
  for (let position = 0; position < plan.tokens; position += 1) {
    const isChosen = position === scene.position;
    if (isDense && !isChosen && position % Math.ceil(3 / plan.row) !== 0) continue;
    const y = Math.round(rowMiddle(plan, position)) + 0.5;
    pen.strokeStyle = isChosen ? palette.accent : palette.line;
    pen.globalAlpha = isChosen || plan.row > 10 ? 1 : 0.45;
    pen.lineWidth = isChosen ? 2 : 1;
    line(pen, plan.embedLeft + 8, y, plan.width - 8, y);
  }
  pen.globalAlpha = 1;
  pen.strokeStyle = palette.line;
  pen.lineWidth = 1;
  pen.setLineDash([1, 4]);
  for (let layer = 0; layer <= plan.layers; layer += 5) {
    const x = Math.round(blockLeft(plan, layer)) - 0.5;
    line(pen, x, plan.bands.layers.top + 16, x, stream.top + stream.height);
  }
  pen.setLineDash([]);
}

function paintBlock(sheet: Sheet, layer: number): void {
  const { pen, plan, scene, palette } = sheet;
  const x = blockLeft(plan, layer);
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  const isNamed = plan.block >= 24 || layer % 5 === 0;
  if (isNamed) {
    pen.fillStyle = palette.muted;
    pen.font = `11px ${SANS}`;
    pen.fillText(plan.block > 60 ? `block ${layer}` : String(layer), x + plan.block / 2, plan.bands.layers.top + 9);
  }
  for (let head = 0; head < plan.heads; head += 1) {
    const band = { top: plan.bands.heads.top + head * plan.headHeight, height: plan.headHeight - (plan.headHeight > 5 ? 1 : 0) };
    paintCell(sheet, x, band, scene.marks.heads?.[layer]?.[head], plan.block > 74 ? `H${head}` : "");
  }
  paintCell(sheet, x, plan.bands.attn, scene.marks.attn?.[layer], plan.block > 74 ? "attn" : "");
  paintCell(sheet, x, plan.bands.mlp, scene.marks.mlp?.[layer], plan.block > 74 ? "MLP" : "");
  paintWrites(sheet, x, layer);
}

function paintCell({ pen, plan, scene, palette }: Sheet, x: number, band: Band, value: number | null | undefined, name: string): void {
  const inset = plan.block > 30 ? 2 : 1;
  const width = plan.block - 2 * inset;
  const isKnown = value !== null && value !== undefined;
  const ground = isKnown ? colourOf(value, scene.marks.scale, scene.marks.most, palette) : palette.zero;
  pen.fillStyle = css(ground);
  pen.fillRect(x + inset, band.top, width, band.height);
  if (band.height < 8) return;
  pen.fillStyle = inkOn(ground);
  pen.font = `${Math.min(10, band.height - 1)}px ${SANS}`;
  pen.textAlign = "center";
  const middle = band.top + band.height / 2 + 0.5;
  const number = isKnown && plan.block >= 44 ? signed(value) : "";
  const words = fitting(pen, `${name} ${number}`.trim(), width - 4, false) ?? number;
  if (words) pen.fillText(words, x + plan.block / 2, middle);
  // The sign is written where the number does not fit, so that colour alone never says it.
  else if (isKnown && Math.abs(value) > scene.marks.most / 6) pen.fillText(value < 0 ? "−" : "+", x + plan.block / 2, middle);
}

/** Attention's bar is full and the MLP's hollow, so that they differ without their place. */
function paintWrites({ pen, plan, scene, palette }: Sheet, x: number, layer: number): void {
  const { top, height } = plan.bands.writes;
  const attn = scene.run.attn[layer]?.[scene.position] ?? 0;
  const mlp = scene.run.mlp[layer]?.[scene.position] ?? 0;
  // Half of the stream's length fills half of the band, and what is longer bends towards its top.
  const tall = (share: number): number => Math.max(1, height * (share / (share + 0.5)));
  const width = Math.max(2, plan.block * 0.28);
  pen.fillStyle = palette.muted;
  pen.fillRect(x + plan.block * 0.2, top + height - tall(attn), width, tall(attn));
  pen.strokeStyle = palette.muted;
  pen.lineWidth = 1;
  pen.strokeRect(x + plan.block * 0.54 + 0.5, top + height - tall(mlp) + 0.5, width - 1, tall(mlp) - 1);
}

function paintFlow({ pen, plan, scene, palette }: Sheet, layer: number): void {
  if (!scene.flow) return;
  const [left, right] = [blockLeft(plan, layer) + 1, blockLeft(plan, layer) + plan.block - 1];
  const to = rowMiddle(plan, scene.flow.position);
  const before = pen.globalAlpha;
  pen.strokeStyle = palette.accent;
  for (const { from, weight } of linesOf(scene.flow, layer, LEAST_FLOW)) {
    const y = rowMiddle(plan, from);
    pen.globalAlpha = before * Math.min(0.8, 0.2 + 0.6 * weight);
    pen.lineWidth = Math.min(5, 0.6 + 4.5 * weight);
    pen.beginPath();
    pen.moveTo(left, y);
    pen.bezierCurveTo(left + plan.block * 0.55, y, right - plan.block * 0.35, to, right, to);
    pen.stroke();
  }
  pen.globalAlpha = before;
}

function paintEnds({ pen, plan, scene, palette }: Sheet): void {
  const { stream, layers } = plan.bands;
  pen.font = `11px ${SANS}`;
  pen.fillStyle = palette.muted;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.fillText("embed", plan.embedLeft + EMBED / 2, layers.top + 9);
  pen.fillText("norm", plan.normLeft + END / 2, layers.top + 9);
  const ground = css(blend(palette.zero, palette.strong, 0.16));
  for (let position = 0; position < plan.tokens; position += 1) {
    const tall = Math.max(1, Math.min(11, plan.row - 1));
    pen.fillStyle = ground;
    pen.fillRect(plan.embedLeft + 10, rowMiddle(plan, position) - tall / 2, EMBED - 20, tall);
  }
  pen.fillStyle = ground;
  pen.fillRect(plan.normLeft + END / 2 - 5, stream.top, 10, stream.height);
  const y = rowMiddle(plan, scene.position);
  pen.fillStyle = palette.accent;
  pen.beginPath();
  pen.moveTo(plan.width - 10, y - 6);
  pen.lineTo(plan.width - 1, y);
  pen.lineTo(plan.width - 10, y + 6);
  pen.fill();
}

function paintChoices(sheet: Sheet): void {
  const { pen, plan, scene, palette } = sheet;
  for (const part of scene.changed?.parts ?? []) {
    const parsed = parsePart(part);
    const box = parsed && boxOf(plan, parsed);
    if (box && scene.changed) paintChanged(sheet, box, scene.changed.word);
  }
  pen.strokeStyle = palette.accent;
  pen.lineWidth = 2;
  for (const part of scene.parts) {
    const parsed = parsePart(part);
    const box = parsed && boxOf(plan, parsed);
    if (box) pen.strokeRect(box.x, box.y, box.width, box.height);
  }
  const pointed = scene.cursor && boxOfCursor(sheet);
  if (!pointed) return;
  pen.strokeStyle = palette.ink;
  pen.lineWidth = 1.5;
  pen.strokeRect(pointed.x, pointed.y, pointed.width, pointed.height);
}

interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

function boxOf(plan: Plan, { kind, layer, head }: ParsedPart): Box | null {
  const { heads, attn, mlp, layers, stream } = plan.bands;
  if (kind === "embed") return { x: plan.embedLeft + 6, y: stream.top - 3, width: EMBED - 12, height: stream.height + 6 };
  if (layer >= plan.layers) return null;
  const across = { x: blockLeft(plan, layer) + 0.5, width: plan.block - 1 };
  switch (kind) {
    case "head":
      return { ...across, y: heads.top + head * plan.headHeight - 1, height: plan.headHeight + 1 };
    case "attn":
      return { ...across, y: attn.top - 1, height: attn.height + 2 };
    case "mlp":
      return { ...across, y: mlp.top - 1, height: mlp.height + 2 };
    case "layer":
      return { ...across, y: layers.top + 1, height: mlp.top + mlp.height - layers.top };
  }
}

function boxOfCursor({ plan, scene }: Sheet): Box | null {
  const { cursor } = scene;
  if (!cursor || cursor.kind === "token") return null;
  if (cursor.kind === "head") return boxOf(plan, { kind: "head", layer: cursor.layer, head: cursor.head });
  if (cursor.kind === "layer" || cursor.kind === "attn" || cursor.kind === "mlp") return boxOf(plan, { ...cursor, head: -1 });
  const x = readingAt(plan, cursor.layer);
  if (cursor.kind === "stream") return { x: x - 5, y: rowMiddle(plan, cursor.position) - 5, width: 10, height: 10 };
  const { bars, words } = plan.bands;
  return { x: x - plan.block / 2 + 1, y: bars.top - 1, width: plan.block - 2, height: words.top + words.height - bars.top };
}

const SIGNS = { off: "×", patched: "◆", pushed: "↑" } as const;

function paintChanged({ pen, palette }: Sheet, box: Box, word: keyof typeof SIGNS): void {
  pen.fillStyle = palette.paper;
  pen.fillRect(box.x + 1, box.y + 1, box.width - 2, box.height - 2);
  pen.fillStyle = palette.accent;
  pen.font = `700 ${Math.min(16, Math.max(10, box.height))}px ${SANS}`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.fillText(SIGNS[word], box.x + box.width / 2, box.y + box.height / 2 + 0.5);
}

function paintGutter(sheet: Sheet): void {
  const { pen, plan, scene, palette } = sheet;
  const { bands } = plan;
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  pen.font = `11px ${SANS}`;
  pen.fillStyle = palette.muted;
  const right = plan.gutter - 8;
  const name = (words: string, band: Band): void => pen.fillText(fitting(pen, words, right - 2, true) ?? "", right, band.top + band.height / 2);
  name("block", bands.layers);
  name("heads", bands.heads);
  if (plan.headHeight > 8 && plan.heads > 4) nameEnds(sheet, right);
  name("attention", bands.attn);
  name("MLP", bands.mlp);
  name("writes", bands.writes);
  name(plan.gutter < 80 ? "lens" : "lens reads", bands.words);
  name(plan.gutter < 80 ? "chance" : "probability", bands.bars);
  pen.font = `${plan.row >= 12 ? 12 : 11}px ${MONO}`;
  for (const position of namedRows(plan, [scene.position, ...strongestSources(scene.flow, 6)])) {
    pen.fillStyle = position === scene.position ? palette.accent : palette.ink;
    pen.fillText(fitting(pen, visible(scene.run.tokens[position]?.text ?? ""), right - 2, true) ?? "", right, rowMiddle(plan, position));
  }
}

function nameEnds({ pen, plan }: Sheet, right: number): void {
  const { top } = plan.bands.heads;
  pen.fillText("H0", right, top + plan.headHeight / 2);
  pen.fillText(`H${plan.heads - 1}`, right, top + (plan.heads - 0.5) * plan.headHeight);
}

function line(pen: CanvasRenderingContext2D, x0: number, y0: number, x1: number, y1: number): void {
  pen.beginPath();
  pen.moveTo(x0, y0);
  pen.lineTo(x1, y1);
  pen.stroke();
}
