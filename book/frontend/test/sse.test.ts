import { describe, expect, test } from "vitest";
import { readEvents, SseParser, type ServerEvent } from "../src/chat/sse";

const STREAM = 'event: meta\ndata: {"tier":"answer"}\n\nevent: text\ndata: one\ndata: two\n\n: a comment\ndata: bare\n\n';
const EVENTS: ServerEvent[] = [
  { event: "meta", data: '{"tier":"answer"}' },
  { event: "text", data: "one\ntwo" },
  { event: "message", data: "bare" },
];

function inPieces(text: string, size: number): ServerEvent[] {
  const parser = new SseParser();
  const pieces = Array.from({ length: Math.ceil(text.length / size) }, (_, i) => text.slice(i * size, (i + 1) * size));
  return pieces.flatMap((piece) => parser.push(piece));
}

describe("server-sent events", () => {
  test.each([1, 2, 3, 7, 1000])("come out the same in pieces of %i characters", (size) => {
    expect(inPieces(STREAM, size)).toEqual(EVENTS);
  });

  test.each(["\r\n", "\r"])("come out the same with other line ends", (end) => {
    const text = `${STREAM.replaceAll("\n", end)}data: last`;
    for (const size of [1, 2, 5, 1000]) expect(inPieces(text, size)).toEqual(EVENTS);
  });

  test("an unfinished event waits", () => {
    const parser = new SseParser();
    expect(parser.push("event: text\ndata: half")).toEqual([]);
    expect(parser.push("\n\n")).toEqual([{ event: "text", data: "half" }]);
  });

  test("an event without data is none", () => {
    expect(new SseParser().push("event: ping\n\n")).toEqual([]);
  });

  test("a character split between two network pieces stays whole", async () => {
    const bytes = new TextEncoder().encode("data: é…\n\n");
    const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
      start(controller) {
        for (const byte of bytes) controller.enqueue(new Uint8Array([byte]));
        controller.close();
      },
    });
    const events: ServerEvent[] = [];
    for await (const event of readEvents(new Response(body))) events.push(event);
    expect(events).toEqual([{ event: "message", data: "é…" }]);
  });
});
