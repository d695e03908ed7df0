import { describe, expect, test } from "vitest";
import { cellLabel, cellList, duration, isPending, kernelLabel, needsNewKernel, placeLabel, type CellState, type KernelState } from "../src/cells/states";

const PROBLEM = { code: "c", message: "It is full.", hint: "Wait.", status: 503 };
const CELLS: CellState[] = [
  { kind: "stored" },
  { kind: "queued", place: 1 },
  { kind: "running" },
  { kind: "live" },
  { kind: "error", name: "NameError" },
];
const KERNELS: KernelState[] = [
  { kind: "idle" },
  { kind: "starting" },
  { kind: "waiting", place: { number: 2, of: 5 } },
  { kind: "ready" },
  { kind: "busy" },
  { kind: "reconnecting" },
  { kind: "dead", problem: { ...PROBLEM, message: "It died." } },
  { kind: "failed", problem: PROBLEM },
];

describe("states", () => {
  test("every state of a cell has words of its own", () => {
    expect(new Set(CELLS.map((state) => cellLabel(state, true))).size).toBe(CELLS.length);
  });

  test("the badge says which output is shown", () => {
    expect(cellLabel({ kind: "stored" }, true)).toBe("stored output");
    expect(cellLabel({ kind: "stored" }, false)).toBe("not run yet");
    expect(cellLabel({ kind: "live" }, true)).toBe("live output");
  });

  test("every state of the kernel has words of its own", () => {
    expect(new Set(KERNELS.map((state) => kernelLabel(state))).size).toBe(KERNELS.length);
  });

  test("a failure is shown with its hint", () => {
    expect(kernelLabel({ kind: "failed", problem: PROBLEM })).toBe("It is full. Wait.");
  });

  test("a queued cell knows its place, and a long press how far it has come", () => {
    expect(placeLabel({ kind: "queued", place: 1 })).toBe("next");
    expect(placeLabel({ kind: "queued", place: 4 })).toBe("3 before it");
    expect(placeLabel({ kind: "live" })).toBe("");
    expect(kernelLabel({ kind: "busy" }, { cell: 3, of: 7 })).toBe("Running: cell 3 of 7");
  });

  test("a reader in line for a kernel sees their place", () => {
    const words = kernelLabel({ kind: "waiting", place: { number: 2, of: 5 } });
    expect(words).toBe("All kernels are taken: you are number 2 of 5 in line for the next one.");
  });

  test("durations and lists of cells read as one would say them", () => {
    expect([0, 12, 999, 1234, 59_949, 65_000].map(duration)).toEqual(["1 ms", "12 ms", "999 ms", "1.2 s", "59.9 s", "1 min 5 s"]);
    expect([[2], [3, 0], [0, 1, 3]].map(cellList)).toEqual(["cell 3", "cells 1 and 4", "cells 1, 2 and 4"]);
  });

  test("only a kernel that is not there is asked for anew", () => {
    expect(KERNELS.filter(needsNewKernel).map((state) => state.kind)).toEqual(["idle", "dead", "failed"]);
  });

  test("only queued and running cells are pending", () => {
    expect(CELLS.filter(isPending).map((state) => state.kind)).toEqual(["queued", "running"]);
  });

  test("a state that nobody knows stops loudly", () => {
    expect(() => cellLabel({ kind: "odd" } as never, true)).toThrow(/a case is missing.*odd/);
    expect(() => kernelLabel({ kind: "odd" } as never)).toThrow(/a case is missing/);
  });
});
