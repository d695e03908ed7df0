// Owns the service's addresses for one page: asking for a kernel, and asking after it until the service answers.

import type { Kernel } from "@jupyterlab/services/lib/kernel";
import type { Reader } from "../reader";
import { problemFrom, ServerError, type Problem } from "../server_error";
import type { KernelLimits, Place } from "./contract";

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 3000;
/** The service itself takes back kernels that had no page for some minutes; a server that is gone does not return sooner. */
const GIVE_UP_AFTER_MS = 180_000;
const ACCEPTED = 202;
const GONE = 404;
const LEFT_THE_LINE: Problem = { code: "superseded", message: "The place in the line was given up.", hint: "", status: 0 };

export interface KernelModel extends Kernel.IModel {
  readonly limits?: KernelLimits;
}

/** The kernel of an id if this reader still has it, else a new one, after waiting in line where the service is full. */
export async function obtain(
  reader: Reader,
  kept: string | null,
  onWaiting: (place: Place) => boolean,
): Promise<{ model: KernelModel; isKept: boolean }> {
  const found = kept === null ? null : await find(reader, kept);
  if (found) return { model: found, isKept: true };
  await reader.parted();
  for (;;) {
    const response = await reader.fetch("api/kernels", { method: "POST", body: JSON.stringify({ name: "tlab" }) });
    const answer: unknown = await response.json();
    if (response.status !== ACCEPTED) return { model: answer as KernelModel, isKept: false };
    const { waiting, retry_s } = answer as { waiting: Place; retry_s: number };
    const mayWait = onWaiting(waiting);
    if (mayWait) await new Promise((resolve) => setTimeout(resolve, 1000 * Math.max(retry_s, 1)));
    if (!mayWait || !onWaiting(waiting)) {
      reader.farewell("api/waiting", "DELETE");
      throw new ServerError(LEFT_THE_LINE);
    }
  }
}

export function kernelPath(id: string): string {
  return `api/kernels/${encodeURIComponent(id)}`;
}

/** Limits as the service tells them; null from one that tells none. */
export function limitsOf(model: KernelModel): KernelLimits | null {
  const idle_s: unknown = model.limits?.idle_s;
  return typeof idle_s === "number" && idle_s > 0 ? { idle_s } : null;
}

export interface Patience {
  /** The kernel's connection is away, and the service is being asked. */
  onWait(): void;
  /** No answer for minutes. */
  onGiveUp(problem: Problem): void;
  readonly signal: AbortSignal;
}

/** Ask after a kernel until the service answers; throws when it answers that there is none, or answers nothing. */
export async function ask(reader: Reader, id: string, patience: Patience): Promise<Kernel.IModel> {
  const began_ms = Date.now();
  patience.onWait();
  for (let wait_ms = FIRST_WAIT_MS; ; wait_ms = Math.min(2 * wait_ms, LONGEST_WAIT_MS)) {
    try {
      return (await (await reader.fetch(kernelPath(id))).json()) as Kernel.IModel;
    } catch (error) {
      const problem = problemFrom(error);
      if (patience.signal.aborted || problem.status === GONE) throw error;
      if (Date.now() - began_ms > GIVE_UP_AFTER_MS) {
        patience.onGiveUp(problem);
        throw error;
      }
    }
    await pause(wait_ms, patience.signal);
  }
}

async function find(reader: Reader, id: string): Promise<KernelModel | null> {
  try {
    return (await (await reader.fetch(kernelPath(id))).json()) as KernelModel;
  } catch (error) {
    if (problemFrom(error).status === GONE) return null;
    throw error;
  }
}

/** Wait, but not longer than until the network is back. */
function pause(wait_ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = new AbortController();
    const end = (): void => {
      clearTimeout(timer);
      done.abort();
      resolve();
    };
    const timer = setTimeout(end, wait_ms);
    window.addEventListener("online", end, { signal: done.signal });
    signal.addEventListener("abort", end, { signal: done.signal });
  });
}
