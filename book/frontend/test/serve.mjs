// Serves the hand-made kitchen-sink page with the real dist/, and answers the API calls that need no kernel.
// Start it with `node test/serve.mjs PORT`; the page also opens from file:// as test/site/lessons/kitchen.html.

import { createServer } from "node:http";
import { cp, mkdir, readFile, rm } from "node:fs/promises";
import { extname, join, normalize } from "node:path";

const HERE = new URL(".", import.meta.url).pathname;
const SITE = join(HERE, "site");
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2" };
const PAGE_CSP = "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self'; frame-src 'self'";
const FRAME_CSP = "sandbox allow-scripts; default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'none'";

/** Lay out the site as Sphinx would: pages in folders, everything else under _static. */
export async function layOut(plotly = process.env["PLOTLY_JS"]) {
  await rm(SITE, { recursive: true, force: true });
  await mkdir(join(SITE, "lessons"), { recursive: true });
  await cp(join(HERE, "../dist"), join(SITE, "_static"), { recursive: true });
  await cp(join(HERE, "../../static/book.css"), join(SITE, "_static/book.css"));
  await cp(join(HERE, "kitchen.html"), join(SITE, "lessons/kitchen.html"));
  if (plotly) await cp(plotly, join(SITE, "_static/vendor/plotly.min.js"));
}

const ANSWERS = {
  "/api/reader": (_, response) => json(response, 200, { token: "t", reader: "r", expires_s: 3600 }),
  "/api/kernels": (_, response) => json(response, 429, { code: "reader-full", message: "You run as many kernels as one reader may.", hint: "Close another page of the book that runs code.", status: 429 }),
  "/api/chat": chat,
};

async function chat(request, response) {
  const { question } = JSON.parse(await text(request));
  if (question.includes("fail")) return json(response, 503, { code: "kb-down", message: "The library is closed.", hint: "Start its database again.", status: 503 });
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  const send = (event, data) => response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  send("meta", { tier: question.includes("?") ? "answer" : "closest", mode: "extractive", model: null });
  send("sources", [
    { n: 1, id: "self-attention", title: "Self-attention", section: "Queries and keys", url: "kb/documents/self-attention.html#queries-and-keys", excerpt: "" },
    { n: 2, id: "evil", title: "Elsewhere", section: "", url: "javascript:alert(1)", excerpt: "" },
  ]);
  for (const [words, cites] of [["**Attention** lets every position read from others.", [1]], ["The weights are a `softmax` of scores <img src=x onerror=alert(1)>.", [1, 2]]]) {
    await new Promise((resolve) => setTimeout(resolve, 150));
    send("text", { text: words, cites });
  }
  send("done", { elapsed_ms: 300 });
  response.end();
}

async function answer(request, response) {
  const path = new URL(request.url, "http://local").pathname;
  const api = ANSWERS[path];
  if (api) return api(request, response);
  try {
    const body = await readFile(join(SITE, normalize(path)));
    const policy = path.endsWith("/frame.html") ? FRAME_CSP : PAGE_CSP;
    response.writeHead(200, { "Content-Type": TYPES[extname(path)] ?? "application/octet-stream", "Content-Security-Policy": policy });
    response.end(body);
  } catch {
    json(response, 404, { code: "not-found", message: `there is no ${path}`, hint: "Open /lessons/kitchen.html.", status: 404 });
  }
}

async function text(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

function json(response, status, body) {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(body));
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  await layOut();
  const server = createServer((request, response) => void answer(request, response));
  server.listen(Number(process.argv[2] ?? 8000), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/lessons/kitchen.html`));
}
