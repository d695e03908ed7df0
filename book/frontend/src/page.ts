// Entry of every page: stored outputs, cell toolbars, status line and the chat button. Everything heavy loads later.

import { ChatButton } from "./chat/button";
import { Notebook } from "./cells/notebook";
import { foldStoredErrors } from "./cells/stored_errors";
import { drawFrame } from "./figures/isolated_frame";
import { drawFigure } from "./figures/plotly";
import { StoredOutputs } from "./figures/stored";
import { sortTables } from "./figures/tables";
import { printInLight } from "./figures/theme";
import { placeLabs } from "./lab/places";
import { readConfig, siteUrl } from "./page_config";
import type { Host } from "./parts";
import { Reader } from "./reader";
import { aidReading, startReading } from "./reading/reading";
import { Settings } from "./reading/settings";
import { startTheme } from "./reading/theme";
import { underTitle } from "./reading/under_title";

function main(): void {
  const config = readConfig(document);
  const { signal } = new AbortController();
  const settings = new Settings();
  let chat: ChatButton | null = null;
  let notebook: Notebook;
  const host: Host = {
    config,
    reader: new Reader(siteUrl(config, "")),
    drawFigure: (target, figure, signal) => drawFigure(config, target, figure, signal),
    drawFrame: (target, html, title, signal) => drawFrame(config, target, html, title, signal),
    ask: config.chat ? (question) => chat?.ask(question) : null,
    startLab: config.live ? (onLost) => notebook.startLab(onLost) : null,
  };
  inTurn([
    () => {
      startReading(host, settings, signal);
      printInLight(signal);
      new StoredOutputs(host, signal);
    },
    () => {
      notebook = startCells(host, signal);
      placeLabs(host, signal);
    },
    () => aidReading(host, settings, signal),
    () => {
      chat = new ChatButton(host, signal);
      foldStoredErrors(document, host.ask);
      sortTables(document);
    },
    () => startTheme(signal),
  ]);
}

/** Each step is a task of its own, so that a slow machine can answer its reader between them. */
function inTurn(steps: readonly (() => void)[]): void {
  const [first, ...others] = steps;
  first?.();
  if (others.length > 0) setTimeout(() => inTurn(others));
}

function startCells(host: Host, signal: AbortSignal): Notebook {
  const elements = [...document.querySelectorAll<HTMLElement>("div.cell")].filter((cell) => cell.querySelector(".cell_input pre"));
  document.body.dataset["kernel"] = "idle";
  const notebook = new Notebook(elements, host, signal);
  // A Lab alone says itself how its kernel is.
  if (elements.length > 0) underTitle()?.append(notebook.bar.element);
  return notebook;
}

main();
