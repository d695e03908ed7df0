// Builds dist/: classic scripts that work from a server and from file://, their CSS, and the libraries they bring.

import { build } from "esbuild";
import { copyFile, mkdir, readFile, rm } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { writeFrame } from "./bundling/frame.mjs";
import { copyKatex } from "./bundling/katex.mjs";
import { writeLicences } from "./bundling/licences.mjs";

const DIST = new URL("dist/", import.meta.url);
/** Where `tlab.lab.widget` finds its script and its style. */
const WIDGET = new URL("../../tlab/lab/static/", import.meta.url).pathname;
const path = (name) => new URL(name, DIST).pathname;

/** Scripts that other people's UMD wrappers must not mistake for AMD modules. */
const DEFINE = { define: "undefined", global: "globalThis", "process.env.NODE_ENV": '"production"' };

/** @jupyterlab's packages ask for these only under Node or for features that the page never calls. */
const EMPTY = new Set(["ws", "minimist", "json5"]);
const emptyModules = {
  name: "empty-modules",
  setup(plugins) {
    plugins.onResolve({ filter: /^[\w-]+$/ }, ({ path: name }) => (EMPTY.has(name) ? { path: name, namespace: "empty" } : null));
    plugins.onLoad({ filter: /.*/, namespace: "empty" }, () => ({ contents: "module.exports = {};" }));
  },
};

/** ipywidgets brings a sanitiser that parses HTML itself; the manager overrides every use of it with the page's own. */
const SANITISER = new URL("bundling/no_sanitiser.mjs", import.meta.url).pathname;

const COMMON = {
  absWorkingDir: new URL(".", import.meta.url).pathname,
  bundle: true,
  minify: true,
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  logLevel: "warning",
};
const SCRIPTS = { ...COMMON, format: "iife", define: DEFINE, alias: { path: "path-browserify", jquery: "jquery/dist/jquery.slim.min.js", "sanitize-html": SANITISER }, plugins: [emptyModules] };

async function bundle() {
  const result = await build({
    entryPoints: {
      page: "src/page.ts",
      live: "src/live/live.ts",
      editor: "src/editor/editor.ts",
      chat: "src/chat/chat.ts",
      widgets: "src/widgets/widgets.ts",
      names: "src/names/names.ts",
      finder: "src/finder/finder.ts",
      early: "src/reading/early.ts",
      formulas: "src/formulas/formulas.ts",
      pictures: "src/pictures/pictures.ts",
      lab: "src/lab/lab.ts",
    },
    ...SCRIPTS,
    outdir: path("."),
    metafile: true,
  });
  await build({ entryPoints: { page: "src/style/page.css", widgets: "src/style/widgets.css", lab: "src/lab/style/lab.css" }, ...COMMON, outdir: path(".") });
  // The same Lab for notebooks, which an anywidget brings along.
  await build({ entryPoints: { lab: "src/lab/widget.ts" }, ...SCRIPTS, format: "esm", outExtension: { ".js": ".mjs" }, outdir: WIDGET });
  await build({ entryPoints: { lab: "src/lab/style/lab.css" }, ...COMMON, outdir: WIDGET });
  const frame = await build({ entryPoints: ["src/frame/frame.ts"], ...SCRIPTS, write: false });
  await writeFrame(path("frame.html"), frame.outputFiles[0].text);
  return Object.keys(result.metafile.inputs);
}

/** What a reader loads, step by step; the limits are those that the book promises. */
const STEPS = [
  ["before Run", ["page.js", "early.js"], 150],
  ["with Run", ["live.js", "names.js"], 180],
  ["with a widget", ["widgets.js"], 155],
  ["with an edit", ["editor.js"], null],
  ["with the chat", ["chat.js"], null],
  ["with a search", ["finder.js"], 100],
  ["with a live formula", ["formulas.js"], 85],
  ["with a Lab", ["lab.js"], 75],
];
const OTHERS = ["page.css", "widgets.css", "lab.css", "frame.html", "vendor/katex/katex.css", "vendor/plotly-cartesian.min.js"];

async function report() {
  const kb = (count) => `${(count / 1000).toFixed(1)} kB`.padStart(9);
  const size = async (name) => gzipSync(await readFile(path(name)), { level: 9 }).length;
  for (const [step, names, limit_kb] of STEPS) {
    const bytes = (await Promise.all(names.map(size))).reduce((sum, one) => sum + one, 0);
    console.log(step.padEnd(24), names.join(" + ").padEnd(12), kb(bytes), "gzip", limit_kb ? `of ${limit_kb} kB` : "");
    if (limit_kb && bytes > limit_kb * 1000) throw new Error(`${names.join(" + ")}: expected at most ${limit_kb} kB gzip, got ${kb(bytes).trim()}`);
  }
  for (const name of OTHERS) console.log(name.padEnd(37), kb(await size(name)), "gzip");
}

await rm(DIST, { recursive: true, force: true });
await mkdir(DIST, { recursive: true });
const inputs = await bundle();
await copyKatex(DIST);
await copyFile(new URL("node_modules/plotly.js-cartesian-dist-min/plotly-cartesian.min.js", import.meta.url), path("vendor/plotly-cartesian.min.js"));
await writeLicences(new URL("THIRD-PARTY-LICENSES.txt", DIST), inputs);
await report();
