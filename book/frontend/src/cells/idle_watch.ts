// Owns the warning before the service takes an idle kernel back. It ends nothing itself.

const LOOK_EVERY_MS = 5000;
/** Warn for the last third of the limit, but no longer than this. */
const LONGEST_WARNING_S = 300;

/** For how many seconds an idle kernel is still there, when it is time to say so; else null. */
export function secondsLeft(limit_s: number, idle_s: number): number | null {
  const left_s = limit_s - idle_s;
  return left_s > Math.min(LONGEST_WARNING_S, limit_s / 3) ? null : Math.max(0, Math.round(left_s));
}

export function idleWarning(left_s: number): string {
  const minutes = Math.ceil(left_s / 60);
  const when = left_s <= 60 ? "in less than a minute" : `in ${minutes} minutes`;
  return `Nothing has run for a while: the service takes this kernel back ${when}.`;
}

export class IdleWatch {
  #since_ms: number;
  #limit_s: number | null = null;

  constructor(
    private readonly warn: (words: string | null) => void,
    signal: AbortSignal,
    private readonly now: () => number = Date.now,
  ) {
    this.#since_ms = now();
    const timer = setInterval(() => this.#look(), LOOK_EVERY_MS);
    signal.addEventListener("abort", () => clearInterval(timer));
  }

  /** Begin with a kernel that has such a limit; null for none. */
  watch(limit_s: number | null): void {
    this.#limit_s = limit_s;
    this.active();
  }

  /** Something ran. */
  active(): void {
    this.#since_ms = this.now();
    this.#look();
  }

  /** The limit, if the kernel was idle for about as long: then that is why it is gone. */
  get exceeded_s(): number | null {
    const idle_s = (this.now() - this.#since_ms) / 1000;
    return this.#limit_s !== null && idle_s >= 0.95 * this.#limit_s ? this.#limit_s : null;
  }

  #look(): void {
    const left_s = this.#limit_s === null ? null : secondsLeft(this.#limit_s, (this.now() - this.#since_ms) / 1000);
    this.warn(left_s === null ? null : idleWarning(left_s));
  }
}
