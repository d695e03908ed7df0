// Owns the reader's token: asks for it, keeps it for the tab, renews it when refused. Refuses to put it into the page.

import { ServerError, problemOf } from "./server_error";

const KEY = "tl-reader";
/** A token this close to its end is renewed first. */
const MARGIN_S = 60;
/** A server that does not answer a farewell keeps nobody waiting. */
const LONGEST_PARTING_MS = 3000;

interface Held {
  readonly token: string;
  readonly expiresAt_ms: number;
}

export class Reader {
  #held: Held | null;
  #minting: Promise<string> | null = null;
  #parting: Promise<unknown> = Promise.resolve();

  /** @param root absolute address of the site root, ending with a slash. */
  constructor(
    readonly root: string,
    private readonly storage: Pick<Storage, "getItem" | "setItem"> | null = tabStorage(),
    private readonly now: () => number = Date.now,
  ) {
    this.#held = parseHeld(read(storage));
  }

  /** The token, asked for at most once at a time. */
  async token(): Promise<string> {
    if (this.#held && this.#held.expiresAt_ms - MARGIN_S * 1000 > this.now()) return this.#held.token;
    this.#minting ??= this.#mint().finally(() => (this.#minting = null));
    return this.#minting;
  }

  /** Fetch below the site root as this reader; a refused token is renewed once. */
  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const first = await this.#send(path, init, await this.token());
    if (first.status !== 401 && first.status !== 403) return checked(first);
    this.#held = null;
    return checked(await this.#send(path, init, await this.token()));
  }

  /** Tell the server something while the page goes away: nobody waits for the answer. */
  farewell(path: string, method: string): void {
    if (!this.#held) return;
    const headers = { Authorization: `token ${this.#held.token}` };
    const heard = fetch(this.root + path, { method, headers, keepalive: true }).catch(() => undefined);
    this.#parting = Promise.race([heard, new Promise((resolve) => setTimeout(resolve, LONGEST_PARTING_MS))]);
  }

  /** Resolves when the server has heard the last farewell, so that what was given back counts as free. */
  async parted(): Promise<void> {
    await this.#parting;
  }

  #send(path: string, init: RequestInit, token: string): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set("Authorization", `token ${token}`);
    if (init.body !== undefined) headers.set("Content-Type", "application/json");
    return fetch(this.root + path, { ...init, headers });
  }

  async #mint(): Promise<string> {
    // An old token that still holds keeps the same reader; one that does not is ignored by the server.
    const headers = this.#held ? { Authorization: `token ${this.#held.token}` } : {};
    const response = await checked(await fetch(`${this.root}api/reader`, { method: "POST", headers }));
    const raw = (await response.json()) as { token?: unknown; expires_s?: unknown };
    if (typeof raw.token !== "string" || typeof raw.expires_s !== "number") {
      throw new ServerError({
        code: "unexpected-answer",
        message: "The book's server did not hand out a reader token.",
        hint: "Reload the page; if it stays so, the server and the book are of different versions.",
        status: response.status,
      });
    }
    this.#held = { token: raw.token, expiresAt_ms: this.now() + raw.expires_s * 1000 };
    write(this.storage, JSON.stringify(this.#held));
    return raw.token;
  }
}

async function checked(response: Response): Promise<Response> {
  if (response.ok) return response;
  throw new ServerError(await problemOf(response));
}

function parseHeld(text: string | null): Held | null {
  if (text === null) return null;
  try {
    const { token, expiresAt_ms } = JSON.parse(text) as Record<string, unknown>;
    return typeof token === "string" && typeof expiresAt_ms === "number" ? { token, expiresAt_ms } : null;
  } catch {
    return null;
  }
}

/** A browser may forbid storage (private windows, local files): then the token lives as long as the page. */
function tabStorage(): Storage | null {
  try {
    return window.sessionStorage;
  } catch {
    return null;
  }
}

function read(storage: Pick<Storage, "getItem"> | null): string | null {
  try {
    return storage?.getItem(KEY) ?? null;
  } catch {
    return null;
  }
}

function write(storage: Pick<Storage, "setItem"> | null, value: string): void {
  try {
    storage?.setItem(KEY, value);
  } catch {
    // A full or forbidden storage costs only a new token on the next page.
  }
}
