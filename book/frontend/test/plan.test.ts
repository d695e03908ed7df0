import { describe, expect, test } from "vitest";
import { planRun, planRunAbove } from "../src/cells/plan";

const cell = (isSetup: boolean, hasRun: boolean) => ({ isSetup, hasRun });

describe("what one press of Run brings along", () => {
  test("setup cells above that have not run come first", () => {
    expect(planRun([cell(true, false), cell(false, false), cell(true, true), cell(false, false)], 3)).toEqual([0, 3]);
  });

  test("setup cells below do not", () => {
    expect(planRun([cell(false, false), cell(true, false)], 0)).toEqual([0]);
  });

  test("a setup cell runs itself once", () => {
    expect(planRun([cell(true, false), cell(false, false)], 0)).toEqual([0]);
  });

  test("running all above skips what this kernel has seen", () => {
    expect(planRunAbove([cell(true, true), cell(false, false), cell(false, true), cell(false, false)], 3)).toEqual([1, 3]);
  });
});
