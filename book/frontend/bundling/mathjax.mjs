// Joins the few MathJax components that the book needs into one file, and copies its font beside it.
// The ready-made tex-mml-chtml.js is twice as heavy: it brings a menu, a speech engine and MathML input.

import { cp, mkdir, readFile, writeFile } from "node:fs/promises";

const MATHJAX = new URL("../node_modules/mathjax/", import.meta.url);
const FONT = new URL("../node_modules/@mathjax/mathjax-newcm-font/", import.meta.url);

const COMPONENTS = [
  ...["startup.js", "core.js", "input/tex.js", "output/chtml.js", "a11y/assistive-mml.js"].map((name) => new URL(name, MATHJAX)),
  new URL("chtml.js", FONT),
];

/** Where MathJax would look for fonts that are not here. */
const FOREIGN = /https:\/\/cdn\.jsdelivr\.net(?:\/npm\/@mathjax)?/g;
/** TeX extensions whose fonts are separate packages. */
const NEED_OTHER_FONTS = ["bbm", "bboldx", "dsfont", "mhchem"];

/** Every path hangs on [mathjax], the folder of the script itself: so nested pages and file:// need no configuration. */
const BEFORE = `
window.MathJax = window.MathJax || {};
(function (config) {
  config.loader = config.loader || {};
  config.loader.paths = Object.assign({ "mathjax-newcm": "[mathjax]/mathjax-newcm-font" }, config.loader.paths);
  config.options = Object.assign({ enableAssistiveMml: true }, config.options);
})(window.MathJax);
`;
/** The accessible copy sets an option of the menu, which is not here and would only be warned about. */
const AFTER = `
delete MathJax.config.options.menuOptions;
MathJax.loader.preLoaded("core", "input/tex", "output/chtml", "a11y/assistive-mml", "[mathjax-newcm]/chtml");
`;

export async function bundleMathJax(dist) {
  const target = new URL("vendor/mathjax/", dist);
  await mkdir(target, { recursive: true });
  const parts = await Promise.all(COMPONENTS.map((file) => readFile(file, "utf8")));
  const local = (source) => source.replaceAll(FOREIGN, "[mathjax]/fonts");
  await writeFile(new URL("math.js", target), [BEFORE, ...parts.map(local), AFTER].join("\n;"));
  const wanted = (file) => !NEED_OTHER_FONTS.some((name) => file.endsWith(`/${name}.js`));
  await cp(new URL("input/tex/extensions/", MATHJAX), new URL("input/tex/extensions/", target), { recursive: true, filter: wanted });
  await cp(new URL("chtml/", FONT), new URL("mathjax-newcm-font/chtml/", target), { recursive: true });
}
