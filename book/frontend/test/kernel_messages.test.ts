import { describe, expect, test } from "vitest";
import { translate } from "../src/live/messages";
import { placeInCell } from "../src/live/place";
import { errorView } from "../src/live/traceback";

const message = (type: string, content: object) => ({ header: { msg_type: type }, content }) as never;

describe("kernel messages", () => {
  test.each([
    ["stream", { name: "stderr", text: "x" }, { kind: "stream", name: "stderr", text: "x" }],
    ["display_data", { data: { "text/plain": "x" }, transient: { display_id: "d" } }, { kind: "display", bundle: { "text/plain": "x" }, displayId: "d" }],
    ["execute_result", { data: { "text/plain": "x" } }, { kind: "display", bundle: { "text/plain": "x" }, displayId: null }],
    ["update_display_data", { data: {}, transient: { display_id: "d" } }, { kind: "update", bundle: {}, displayId: "d" }],
    ["clear_output", { wait: true }, { kind: "clear", wait: true }],
    ["error", { ename: "E", evalue: "v", traceback: ["t"] }, { kind: "error", error: { name: "E", message: "v", traceback: ["t"], execution: 3 } }],
  ])("%s becomes an output event", (type, content, event) => {
    expect(translate(message(type, content), 3)).toEqual(event);
  });

  test.each([
    ["status", { execution_state: "busy" }],
    ["update_display_data", { data: {} }],
    ["comm_msg", {}],
  ])("%s is no output", (type, content) => {
    expect(translate(message(type, content), null)).toBeNull();
  });
});

const NESTED = {
  name: "ZeroDivisionError",
  message: "division by zero",
  execution: 5,
  traceback: [
    "\x1b[31m---------\x1b[39m",
    "\x1b[31mZeroDivisionError\x1b[39m    Traceback (most recent call last)",
    "Cell \x1b[32mIn[5]\x1b[39m\x1b[32m, line 4\x1b[39m\n      1 \x1b[38;5;28;01mdef\x1b[39;00m f():\n----> 4 f()\n",
    "Cell \x1b[32mIn[2]\x1b[39m\x1b[32m, line 9\x1b[39m, in g()\n----> 9 1 / 0\n",
    "ZeroDivisionError: division by zero",
  ],
};

describe("an error", () => {
  test("names the line of the cell that ran, not of the cell that defined the function", () => {
    expect(placeInCell(NESTED)).toEqual({ line: 4, text: "f()" });
  });

  test("without a traceback names no line", () => {
    expect(placeInCell({ ...NESTED, traceback: [] })).toBeNull();
  });

  test("shows name and message first and folds the rest", () => {
    const view = errorView(NESTED);
    expect(view.firstElementChild?.textContent).toBe("ZeroDivisionError: division by zero");
    expect(view.querySelector(".tl-error-line")?.textContent).toBe("Line 4 of this cell: f()");
    expect(view.querySelector("details")?.open).toBe(false);
  });

  test("that is an interrupt is told as one", () => {
    const view = errorView({ name: "KeyboardInterrupt", message: "", traceback: [], execution: 1 });
    expect(view.textContent).toBe("Interrupted before the cell was done.");
  });
});
