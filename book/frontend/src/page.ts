// Entry of every page: stored outputs, cell toolbars, status line and the chat button. Everything heavy loads later.

import { ChatButton } from "./chat/button";
import { Notebook } from "./cells/notebook";
import { foldStoredErrors } from "./cells/stored_errors";
import { drawFrame } from "./figures/isolated_frame";
import { drawFigure } from "./figures/plotly";
import { StoredOutputs } from "./figures/stored";
import { sortTables } from "./figures/tables";
import { printInLight } from "./figures/theme";
import { readConfig, siteUrl } from "./page_config";
import type { Host } from "./parts";
import { Reader } from "./reader";
import { startReading } from "./reading/reading";

function main(): void {
  const config = readConfig(document);
  const { signal } = new AbortController();
  const host: Host = {
    config,
    reader: new Reader(siteUrl(config, "")),
    drawFigure: (target, figure, signal) => drawFigure(config, target, figure, signal),
    drawFrame: (target, html, title, signal) => drawFrame(config, target, html, title, signal),
    ask: config.chat ? (question) => chat.ask(question) : null,
  };
  printInLight(signal);
  new StoredOutputs(host, signal);
  const chat = new ChatButton(host, signal);
  foldStoredErrors(document, host.ask);
  sortTables(document);
  startCells(host, signal);
  startReading(host, signal);
}

function startCells(host: Host, signal: AbortSignal): void {
  const elements = [...document.querySelectorAll<HTMLElement>("div.cell")].filter((cell) => cell.querySelector(".cell_input pre"));
  document.body.dataset["kernel"] = "idle";
  const first = elements[0];
  if (!first) return;
  const notebook = new Notebook(elements, host, signal);
  const heading = document.querySelector("article h1, main h1, h1");
  if (heading) heading.after(notebook.bar.element);
  else first.before(notebook.bar.element);
}

main();
