import { describe, expect, test } from "vitest";
import { cellLabel, isPending, kernelLabel, needsNewKernel, type CellState, type KernelState } from "../src/cells/states";

const PROBLEM = { code: "c", message: "It is full.", hint: "Wait.", status: 503 };
const CELLS: CellState[] = [
  { kind: "stored" },
  { kind: "queued" },
  { kind: "running" },
  { kind: "live" },
  { kind: "error", name: "NameError" },
];
const KERNELS: KernelState[] = [
  { kind: "idle" },
  { kind: "starting" },
  { kind: "ready" },
  { kind: "busy" },
  { kind: "reconnecting" },
  { kind: "dead" },
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
    expect(new Set(KERNELS.map(kernelLabel)).size).toBe(KERNELS.length);
  });

  test("a failure is shown with its hint", () => {
    expect(kernelLabel({ kind: "failed", problem: PROBLEM })).toBe("It is full. Wait.");
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
