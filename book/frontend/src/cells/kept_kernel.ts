// Owns the reader's wish to take a kernel along to the next page, for this tab. Refuses to outlive the tab.

const KEY = "tl-kernel";

type Store = Pick<Storage, "getItem" | "setItem" | "removeItem">;

export class KeptKernel {
  #isOn: boolean;
  #id: string | null;

  constructor(private readonly store: Store | null = tabStorage()) {
    const text = read(store);
    this.#isOn = text !== null;
    this.#id = text !== null && /^[\w-]{36}$/.test(text) ? text : null;
  }

  /** Whether the reader wants to keep the kernel. */
  get isOn(): boolean {
    return this.#isOn;
  }

  /** The kernel of the page before; null when there is none. */
  get id(): string | null {
    return this.#id;
  }

  turn(isOn: boolean, id: string | null): void {
    this.#isOn = isOn;
    this.note(id);
  }

  /** Remember which kernel it is now, if one is to be kept. */
  note(id: string | null): void {
    this.#id = this.#isOn ? id : null;
    try {
      if (this.#isOn) this.store?.setItem(KEY, id ?? "");
      else this.store?.removeItem(KEY);
    } catch {
      // Without storage the next page starts a kernel of its own.
    }
  }
}

function read(store: Store | null): string | null {
  try {
    return store?.getItem(KEY) ?? null;
  } catch {
    return null;
  }
}

function tabStorage(): Storage | null {
  try {
    return window.sessionStorage;
  } catch {
    return null;
  }
}
