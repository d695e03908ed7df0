// Writes the licences of every package whose code is in dist/. A package without a permissive licence stops the build.

import { readdir, readFile, writeFile } from "node:fs/promises";

const MODULES = new URL("../node_modules/", import.meta.url);

/** Copied as files, so esbuild does not see them. */
const COPIED = ["katex", "plotly.js-cartesian-dist-min", "requirejs", "d3", "jquery"];

/** Packages that name a licence without shipping its text. */
const TEXTS = [
  [/^@(jupyterlab|jupyter-widgets|lumino)\//, new URL("licences/jupyter-BSD-3-Clause.txt", import.meta.url)],
  [/^requirejs$/, new URL("licences/requirejs-MIT.txt", import.meta.url)],
];
/** KaTeX states its own licence for its code; its fonts carry another in themselves. */
const FONTS = ["KaTeX's fonts (OFL-1.1)", new URL("licences/katex-fonts-OFL.txt", import.meta.url)];
const PERMISSIVE = /^(MIT|ISC|BSD-[23]-Clause|Apache-2\.0|0BSD|\(MPL-2\.0 OR Apache-2\.0\))$/;

export async function writeLicences(target, inputs) {
  const names = [...new Set([...inputs.flatMap(packageOf), ...COPIED])].sort();
  const entries = [...(await Promise.all(names.map(entryOf))), `${FONTS[0]}\n\n${(await readFile(FONTS[1], "utf8")).trim()}\n`];
  const head = "The book's page code is joined with the packages below, each under its own licence.\n";
  await writeFile(target, [head, ...entries].join(`\n${"=".repeat(100)}\n\n`));
}

function packageOf(input) {
  const match = /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
  return match ? [match[1]] : [];
}

async function entryOf(name) {
  const folder = new URL(`${name}/`, MODULES);
  const { version, license, homepage = "" } = JSON.parse(await readFile(new URL("package.json", folder), "utf8"));
  if (!PERMISSIVE.test(license)) throw new Error(`${name}: expected a permissive licence, got ${license}`);
  const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
  const source = file ? new URL(file, folder) : TEXTS.find(([pattern]) => pattern.test(name))?.[1];
  if (!source) throw new Error(`${name}: expected a licence text, got none; add one to bundling/licences/`);
  const text = await readFile(source, "utf8");
  return `${name} ${version} (${license}) ${homepage}\n\n${text.trim()}\n`;
}
