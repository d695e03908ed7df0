import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { IdleWatch, idleWarning, secondsLeft } from "../src/cells/idle_watch";

describe("the warning before an idle kernel goes", () => {
  test("comes in the last five minutes, or the last third of a short limit", () => {
    expect(secondsLeft(1800, 1400)).toBeNull();
    expect(secondsLeft(1800, 1560)).toBe(240);
    expect(secondsLeft(60, 30)).toBeNull();
    expect(secondsLeft(60, 45)).toBe(15);
    expect(secondsLeft(60, 90)).toBe(0);
  });

  test("counts in minutes", () => {
    expect(idleWarning(240)).toContain("in 4 minutes");
    expect(idleWarning(30)).toContain("in less than a minute");
  });
});

describe("the watch", () => {
  const leave = new AbortController();
  let heard: (string | null)[];
  let watch: IdleWatch;

  beforeEach(() => {
    vi.useFakeTimers();
    heard = [];
    watch = new IdleWatch((words) => heard.push(words), leave.signal);
    watch.watch(60);
  });

  afterEach(() => {
    leave.abort();
    vi.useRealTimers();
  });

  test("warns, takes it back when something runs, and knows afterwards why the kernel went", () => {
    vi.advanceTimersByTime(45_000);
    expect(heard.at(-1)).toContain("takes this kernel back");
    expect(watch.exceeded_s).toBeNull();
    watch.active();
    expect(heard.at(-1)).toBeNull();
    vi.advanceTimersByTime(60_000);
    expect(watch.exceeded_s).toBe(60);
    watch.watch(null);
    expect(heard.at(-1)).toBeNull();
  });
});
