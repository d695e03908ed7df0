// Brings KaTeX's style sheet and its fonts, in the one format that every browser of today reads.

import { cp, mkdir, readFile, readdir, writeFile } from "node:fs/promises";

const KATEX = new URL("../node_modules/katex/dist/", import.meta.url);
const OLD_FORMATS = /,url\([^)]*\.(?:woff|ttf)\) format\("(?:woff|truetype)"\)/g;

export async function copyKatex(dist) {
  const target = new URL("vendor/katex/", dist);
  await mkdir(new URL("fonts/", target), { recursive: true });
  const style = (await readFile(new URL("katex.min.css", KATEX), "utf8")).replace(OLD_FORMATS, "");
  const named = [...style.matchAll(/url\(([^)]*)\)/g)].map(([, name]) => name);
  const foreign = named.filter((name) => !/^fonts\/[\w-]+\.woff2$/.test(name));
  if (foreign.length > 0) throw new Error(`katex.css: expected fonts beside it, got ${foreign.join(", ")}`);
  await writeFile(new URL("katex.css", target), style);
  const fonts = (await readdir(new URL("fonts/", KATEX))).filter((name) => name.endsWith(".woff2"));
  await Promise.all(fonts.map((name) => cp(new URL(`fonts/${name}`, KATEX), new URL(`fonts/${name}`, target))));
}
