// Owns the server-sent event format: text in pieces of any size becomes events. Pure.

export interface ServerEvent {
  readonly event: string;
  readonly data: string;
}

export class SseParser {
  #buffer = "";
  #event = "";
  #data: string[] = [];

  /** Take the next piece of text and return the events that it completes. */
  push(piece: string): ServerEvent[] {
    this.#buffer += piece;
    const events: ServerEvent[] = [];
    // A carriage return at the very end may be half of a CRLF: it waits for the next piece.
    for (let end = this.#buffer.search(/\r\n|\n|\r(?!$)/); end >= 0; end = this.#buffer.search(/\r\n|\n|\r(?!$)/)) {
      const line = this.#buffer.slice(0, end);
      this.#buffer = this.#buffer.slice(end + (this.#buffer.startsWith("\r\n", end) ? 2 : 1));
      const event = this.#line(line);
      if (event) events.push(event);
    }
    return events;
  }

  #line(line: string): ServerEvent | null {
    if (line === "") return this.#dispatch();
    if (line.startsWith(":")) return null;
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#event = value;
    if (field === "data") this.#data.push(value);
    return null;
  }

  #dispatch(): ServerEvent | null {
    const event = this.#data.length > 0 ? { event: this.#event || "message", data: this.#data.join("\n") } : null;
    this.#event = "";
    this.#data = [];
    return event;
  }
}

/** The events of a response as they arrive. */
export async function* readEvents(response: Response): AsyncGenerator<ServerEvent> {
  if (!response.body) return;
  const parser = new SseParser();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) yield* parser.push(piece.value);
  } finally {
    reader.releaseLock();
  }
}
