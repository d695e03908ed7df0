// Owns drawing the logit lens along the bottom of the pipeline: a bar for each reading, and each run of a token once.

import { blend, css } from "../drawing/colours";
import { fitting } from "../drawing/heat_map";
import { percent, visible } from "../drawing/words";
import { readingAt, runsOf } from "./layout";
import { MONO, SANS, shown, type Sheet } from "./painter";

export function paintLens(sheet: Sheet): void {
  const { pen, plan, scene } = sheet;
  for (let reading = 0; reading <= plan.layers; reading += 1) {
    const x = readingAt(plan, reading);
    if (x < sheet.scrolled - plan.block || x > sheet.scrolled + sheet.room + plan.block) continue;
    pen.globalAlpha = shown(sheet, reading - 1);
    paintBar(sheet, reading, x);
  }
  const tokens = scene.run.lens.token.map((line) => line[scene.position] ?? "");
  for (const run of runsOf(tokens)) {
    if (run.token === "") continue; // not read yet
    pen.globalAlpha = shown(sheet, run.from - 1);
    paintRun(sheet, run.token, readingAt(plan, run.from), readingAt(plan, run.to));
  }
  pen.globalAlpha = 1;
}

function paintBar({ pen, plan, scene, palette }: Sheet, reading: number, x: number): void {
  const { top, height } = plan.bands.bars;
  const p = scene.run.lens.p[reading]?.[scene.position] ?? 0;
  const answer = scene.run.lens.answer[reading]?.[scene.position] ?? 0;
  const width = Math.min(22, plan.block * 0.6);
  const tall = (share: number): number => Math.max(1, (height - 12) * share);
  pen.fillStyle = css(blend(palette.zero, palette.strong, 0.35));
  pen.fillRect(x - width / 2, top + height - tall(p), width, tall(p));
  // The answer's own probability: a line across, so that it is seen on top of the bar and beside it.
  pen.strokeStyle = palette.accent;
  pen.lineWidth = 2;
  const y = top + height - tall(answer);
  pen.beginPath();
  pen.moveTo(x - width / 2 - 2, y);
  pen.lineTo(x + width / 2 + 2, y);
  pen.stroke();
  pen.fillStyle = palette.muted;
  pen.font = `${plan.block < 30 ? 9 : 10}px ${SANS}`;
  pen.textAlign = "center";
  pen.textBaseline = "alphabetic";
  const words = fitting(pen, percent(p), plan.block + 2, false) ?? fitting(pen, percent(p).replace(/\..*%/, "%"), plan.block + 2, false);
  if (words) pen.fillText(words, x, top + height - Math.max(tall(p), tall(answer)) - 3);
}

function paintRun({ pen, plan, palette }: Sheet, token: string, from: number, to: number): void {
  const { top, height } = plan.bands.words;
  const [left, right] = [from - plan.block * 0.4, to + plan.block * 0.4];
  pen.strokeStyle = palette.line;
  pen.lineWidth = 1;
  pen.beginPath();
  pen.moveTo(left, top + 5);
  pen.lineTo(left, top + 2);
  pen.lineTo(right, top + 2);
  pen.lineTo(right, top + 5);
  pen.stroke();
  pen.fillStyle = palette.ink;
  pen.font = `11px ${MONO}`;
  const across = fitting(pen, visible(token), right - left + 4, false);
  if (across) {
    pen.textAlign = "center";
    pen.textBaseline = "top";
    pen.fillText(across, (left + right) / 2, top + 8);
    return;
  }
  pen.save();
  pen.translate((left + right) / 2, top + 8);
  pen.rotate(Math.PI / 2);
  pen.textAlign = "left";
  pen.textBaseline = "middle";
  pen.fillText(fitting(pen, visible(token), height - 10, true) ?? "", 0, 0);
  pen.restore();
}
