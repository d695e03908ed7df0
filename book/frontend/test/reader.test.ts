/// <reference types="node" />
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Reader } from "../src/reader";
import { parseProblem, problemFrom, ServerError, Unreachable } from "../src/server_error";

let server: Server;
let root: string;
let minted = 0;
let valid = new Set<string>();
let seen: IncomingMessage[] = [];

/** A real server that hands out tokens and refuses those it does not know. */
beforeEach(async () => {
  minted = 0;
  valid = new Set();
  seen = [];
  window.sessionStorage.clear();
  server = createServer((request, response) => {
    seen.push(request);
    const send = (status: number, body: object): void => {
      response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
    };
    if (request.url === "/api/reader") {
      minted += 1;
      valid.add(`t${minted}`);
      return send(200, { token: `t${minted}`, reader: "r", expires_s: 600 });
    }
    const token = request.headers.authorization?.replace("token ", "") ?? "";
    if (!valid.has(token)) return send(403, { code: "no-token", message: "Who are you?", hint: "Ask.", status: 403 });
    if (request.url === "/api/full") return send(429, { code: "full", message: "Full.", hint: "Wait.", status: 429 });
    return send(200, { ok: token });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  root = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
});

afterEach(() => void server.close());

describe("the reader's token", () => {
  test("is asked for once, however many want it", async () => {
    const reader = new Reader(root);
    expect(await Promise.all([reader.token(), reader.token(), reader.token()])).toEqual(["t1", "t1", "t1"]);
    expect(minted).toBe(1);
  });

  test("is kept for the tab", async () => {
    await new Reader(root).token();
    expect(await new Reader(root).token()).toBe("t1");
    expect(minted).toBe(1);
  });

  test("is asked for anew shortly before it ends", async () => {
    await new Reader(root).token();
    const later = new Reader(root, window.sessionStorage, () => Date.now() + 560_000);
    expect(await later.token()).toBe("t2");
  });

  test("is renewed once when it is refused, and the request repeated", async () => {
    const reader = new Reader(root);
    await reader.token();
    valid.clear();
    const response = await reader.fetch("api/kernels", { method: "POST", body: "{}" });
    expect(await response.json()).toEqual({ ok: "t2" });
    expect(seen.map((request) => request.url)).toEqual(["/api/reader", "/api/kernels", "/api/reader", "/api/kernels"]);
  });

  test("says farewell, and knows when that was heard", async () => {
    const reader = new Reader(root);
    await reader.parted();
    await reader.token();
    reader.farewell("api/kernels/1", "DELETE");
    await reader.parted();
    expect(seen.map((request) => `${request.method} ${request.url}`)).toEqual(["POST /api/reader", "DELETE /api/kernels/1"]);
  });

  test("lives with the page where storage is forbidden", async () => {
    const refuse = (): never => {
      throw new DOMException("denied", "SecurityError");
    };
    const reader = new Reader(root, { getItem: refuse, setItem: refuse });
    expect(await reader.token()).toBe("t1");
    expect(await reader.token()).toBe("t1");
  });

  test("a damaged store is an empty one", async () => {
    window.sessionStorage.setItem("tl-reader", "{");
    expect(await new Reader(root).token()).toBe("t1");
  });
});

describe("failures", () => {
  test("carry the server's sentence and hint", async () => {
    const problem = await new Reader(root).fetch("api/full").catch(problemFrom);
    expect(problem).toEqual({ code: "full", message: "Full.", hint: "Wait.", status: 429 });
  });

  test("of a server that is gone say how to start it", async () => {
    server.close();
    const problem = problemFrom(await new Reader("http://127.0.0.1:9/").token().catch((error: unknown) => error));
    expect(problem).toMatchObject({ code: "unreachable", message: "The book's server cannot be reached." });
    expect(problem.hint).toContain("python3 noxfile.py serve");
    expect(problemFrom(new Unreachable("live.js did not load")).code).toBe("unreachable");
  });

  test("that are no JSON still get a sentence and a way out", () => {
    expect(parseProblem(null, 502)).toMatchObject({ code: "unexpected-answer", status: 502 });
    expect(parseProblem({ message: "", hint: 3 }, 500).message).toContain("500");
  });

  test("are known across scripts, each of which has its own classes", () => {
    const problem = parseProblem({ code: "c", message: "m", hint: "h" }, 400);
    const foreign = Object.assign(new Error("m"), { name: "ServerError", problem });
    expect(problemFrom(foreign)).toBe(problem);
    expect(problemFrom(new ServerError(problem))).toBe(problem);
  });
});
