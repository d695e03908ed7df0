// The pipeline's arithmetic: everything drawn can be hit, everything hit can be reached by keys, and words say what is there.

import { describe, expect, it } from "vitest";
import { cursorOf, moved, rowsOf, targetOf } from "../src/lab/pipeline/cursor";
import { blockLeft, fittingBlock, namedRows, parsePart, partOf, planOf, rowMiddle, runsOf, targetAt, type Sizes, type Target } from "../src/lab/pipeline/layout";
import { linesOf, quietMarks, strongestHeads, strongestSources, type Scene } from "../src/lab/pipeline/scene";
import { summaryOf, tableOf, wordsOf } from "../src/lab/pipeline/words";
import { opened } from "./lab_stage";

const SIZES: Sizes = { layers: 30, heads: 9, tokens: 12, longestToken: 6 };
const plan = planOf(SIZES, 1200, fittingBlock(SIZES, 1200));

function scene(change: Partial<Scene> = {}): Scene {
  const run = opened();
  return { run, position: 4, parts: [], marks: quietMarks(run), changed: null, flow: null, cursor: null, unfolded: 1, ...change };
}

describe("the layout", () => {
  it("fits a window of 1200 px without scrolling, and stays readable on a phone", () => {
    expect(plan.width).toBeLessThanOrEqual(1200);
    expect(fittingBlock(SIZES, 358)).toBeGreaterThan(20);
  });

  it("keeps its bands apart and below each other", () => {
    const bands = Object.values(plan.bands);
    bands.slice(1).forEach((band, index) => expect(band.top).toBeGreaterThanOrEqual((bands[index]?.top ?? 0) + (bands[index]?.height ?? 0)));
    expect(plan.height).toBeGreaterThan(bands.at(-1)?.top ?? 0);
  });

  it("is not higher for 256 tokens than for 32", () => {
    const height = (tokens: number): number => planOf({ ...SIZES, tokens }, 1200, 30).height;
    expect(height(256)).toBeLessThan(height(32) + 10);
  });

  it("finds each cell at its own middle", () => {
    for (const [layer, head] of [[0, 0], [29, 8], [13, 4]] as const) {
      const y = plan.bands.heads.top + (head + 0.5) * plan.headHeight;
      expect(targetAt(plan, blockLeft(plan, layer) + plan.block / 2, y, false)).toEqual({ kind: "head", layer, head });
    }
    const x = blockLeft(plan, 7) + 3;
    expect(targetAt(plan, x, plan.bands.mlp.top + 5, false)).toEqual({ kind: "mlp", layer: 7 });
    expect(targetAt(plan, x, rowMiddle(plan, 11), false)).toEqual({ kind: "stream", layer: 8, position: 11 });
    expect(targetAt(plan, 5, rowMiddle(plan, 3), true)).toEqual({ kind: "token", position: 3 });
    expect(targetAt(plan, plan.embedLeft + 3, plan.bands.heads.top + 3, false)).toBeNull();
  });

  it("names every row where there is room, and else the wanted ones first", () => {
    expect(namedRows(plan, [3])).toHaveLength(12);
    const dense = planOf({ ...SIZES, tokens: 256 }, 1200, 30);
    const named = namedRows(dense, [255, 100]);
    expect(named.slice(0, 2)).toEqual([255, 100]);
    expect(named.length).toBeLessThan(40);
  });

  it("writes a token once for neighbouring readings", () => {
    expect(runsOf(["a", "a", "b", "a"])).toEqual([{ token: "a", from: 0, to: 1 }, { token: "b", from: 2, to: 2 }, { token: "a", from: 3, to: 3 }]);
  });
});

describe("parts", () => {
  it.each<[Target, string | null]>([
    [{ kind: "head", layer: 3, head: 4 }, "L3H4"],
    [{ kind: "attn", layer: 3 }, "L3.attn"],
    [{ kind: "stream", layer: 0, position: 2 }, "embed"],
    [{ kind: "stream", layer: 30, position: 2 }, "L29"],
    [{ kind: "token", position: 2 }, null],
  ])("%j is %s", (target, part) => expect(partOf(target)).toBe(part));

  it("are read back, and nonsense is none", () => {
    expect(parsePart("L3H4")).toEqual({ kind: "head", layer: 3, head: 4 });
    expect(parsePart("L3.mlp")).toMatchObject({ kind: "mlp", layer: 3 });
    expect(parsePart("L3H")).toBeNull();
  });
});

describe("the keyboard", () => {
  it("reaches every part from the first, and each place leads back to itself", () => {
    for (let column = 1; column <= 30; column += 1) {
      for (let row = 0; row < rowsOf(SIZES); row += 1) {
        const target = targetOf(SIZES, { column, row }, 5);
        expect(cursorOf(SIZES, target)).toEqual({ column, row });
      }
    }
  });

  it("stops at the edges, and leaves other keys alone", () => {
    expect(moved(SIZES, { column: 0, row: 0 }, "ArrowLeft")).toEqual({ column: 0, row: 0 });
    expect(moved(SIZES, { column: 4, row: 2 }, "End")).toEqual({ column: 30, row: 2 });
    expect(moved(SIZES, { column: 4, row: 2 }, "Tab")).toBeNull();
  });

  it("reads the embedding where no block is", () => {
    expect(targetOf(SIZES, { column: 0, row: 3 }, 5)).toEqual({ kind: "stream", layer: 0, position: 5 });
  });
});

describe("the words", () => {
  it("say what is expected, and from which block on the lens reads it", () => {
    expect(summaryOf(scene())).toContain("the model expects ␣Paris with 77%; the lens reads ␣Paris from block 3 on");
  });

  it("give a number with its sign and what a mode changed", () => {
    const words = wordsOf(scene({ changed: { parts: ["L1H2"], word: "off" } }), { kind: "head", layer: 1, head: 2 });
    expect(words).toMatch(/^Head L1H2: [+−]?\d\.\d\d logits, off$/);
  });

  it("have a row for each reading in the table", () => {
    const { head, rows } = tableOf(scene());
    expect(rows).toHaveLength(5);
    rows.forEach((row) => expect(row).toHaveLength(head.length));
  });

  it("invent no direct effects for a model that has none", () => {
    const run = { ...opened(), direct: null };
    expect(strongestHeads(run, 3)).toEqual([]);
    expect(summaryOf(scene({ run, marks: quietMarks(run) }))).not.toContain("heads");
  });
});

describe("flow", () => {
  const flow = { explain: "", caveats: [], position: 2, weight: [[0.5, 0.01, 0.4], [0.2, 0.3, 0.1]], head: [[1, 0, 0], [0, 2, 0]] };

  it("draws what came from elsewhere, strongest first, and no fog", () => {
    expect(linesOf(flow, 0, 0.03)).toEqual([{ from: 0, weight: 0.5, head: 1 }]);
    expect(linesOf(flow, 1, 0.03).map(({ from }) => from)).toEqual([1, 0]);
    expect(linesOf(flow, 9, 0.03)).toEqual([]);
  });

  it("knows from where most came over all layers", () => {
    expect(strongestSources(flow, 2)).toEqual([0, 2]);
    expect(strongestSources(null, 2)).toEqual([]);
  });
});
