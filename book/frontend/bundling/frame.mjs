// Makes dist/frame.html, whole in itself: from file:// a sandboxed frame may load no script beside it.

import { readFile, writeFile } from "node:fs/promises";
import { transform } from "esbuild";

const MODULES = new URL("../node_modules/", import.meta.url);
const PAGE = new URL("../src/frame/frame.html", import.meta.url);

/** Kept as text in the frame and run only when a view asks for them. */
const LIBRARIES = { d3: "d3/dist/d3.min.js", jquery: "jquery/dist/jquery.min.js" };

export async function writeFrame(target, script) {
  const loader = await transform(await readFile(new URL("requirejs/require.js", MODULES), "utf8"), { minify: true });
  const libraries = await Promise.all(
    Object.entries(LIBRARIES).map(async ([name, file]) => {
      const source = await readFile(new URL(file, MODULES), "utf8");
      return `<script type="text/plain" id="library-${name}">${embeddable(source)}</script>`;
    }),
  );
  const running = [loader.code, script].map((source) => `<script>${embeddable(source)}</script>`);
  const page = await readFile(PAGE, "utf8");
  await writeFile(target, page.replace("<!-- scripts -->", () => [...libraries, ...running].join("\n")));
}

/** In JavaScript a closing tag only occurs inside strings, where the backslash changes nothing. */
function embeddable(source) {
  return source.replaceAll("</script", "<\\/script").replaceAll("<!--", "<\\!--");
}
