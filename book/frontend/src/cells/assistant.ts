// Owns how an editor asks the page's kernel. Refuses to wait: a kernel that is busy or away has nothing to say.

import type { Assistant } from "../editor/contract";
import type { LiveKernel } from "../live/contract";
import type { PageKernel } from "./page_kernel";

const PATIENCE_MS = 2500;

/** The reader asked by a key, so a kernel may be started for the answer. */
export function assistantOf(kernel: PageKernel): Assistant {
  const asked = async <T>(otherwise: T, question: (kernel: LiveKernel) => Promise<T>): Promise<T> => {
    try {
      const { kernel: live } = await kernel.open();
      return await Promise.race([question(live), after(PATIENCE_MS, otherwise)]);
    } catch (error) {
      kernel.fail(error);
      return otherwise;
    }
  };
  return {
    complete: (code, at) => asked(null, (live) => live.complete(code, at)),
    inspect: (code, at) => asked(BUSY, (live) => live.inspect(code, at)),
  };
}

const BUSY = "The kernel is busy; ask again when it is done.";

function after<T>(wait_ms: number, value: T): Promise<T> {
  return new Promise((resolve) => setTimeout(() => resolve(value), wait_ms));
}
