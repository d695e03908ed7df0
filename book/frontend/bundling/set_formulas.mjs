// Sets the formulas that come as JSON on the standard input, and answers with JSON. The build of the pages runs it.
// It runs the very script that sets live formulas, so that a stored one looks the same and is held to the same rules.

import { readFileSync } from "node:fs";
import { runInNewContext } from "node:vm";

const SCRIPT = new URL("../dist/formulas.js", import.meta.url);

const window = {};
runInNewContext(readFileSync(SCRIPT, "utf8"), { window, console });
const wanted = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(window.tlParts.formulas.setAll(wanted)));
