// Owns what serves reading on every page: terms, depth, progress, keys, and the doors to search, glossary and help.

import { loadPart, type FinderPart, type Host } from "../parts";
import { copyFormulasAsTyped } from "./copying";
import { depthSwitch } from "./depth";
import { isTypedInto, Keys } from "./keys";
import { Progress } from "./progress";
import { reachScrollable } from "./scrollable";
import type { Settings } from "./settings";
import { Tooltips } from "./tooltips";
import { underTitle } from "./under_title";

type Door = "search" | "glossary" | "help";

/** What has to be there at once: the keys, and what stands under the title. */
export function startReading(host: Host, settings: Settings, signal: AbortSignal): void {
  const depth = depthSwitch(settings, signal);
  if (depth) underTitle()?.prepend(depth);
  startDoors(host, settings, new Keys(settings, signal), signal);
}

/** What a reader meets on the way. */
export function aidReading(host: Host, settings: Settings, signal: AbortSignal): void {
  new Tooltips(host.config, signal);
  reachScrollable(signal);
  copyFormulasAsTyped(signal);
  new Progress(host.config, settings, signal);
}

function startDoors(host: Host, settings: Settings, keys: Keys, signal: AbortSignal): void {
  const finder = (): Promise<FinderPart> => loadPart(host.config, "finder");
  const open = async (door: Door): Promise<void> => {
    try {
      const { part, typed } = await whileTyping(finder(), signal);
      if (signal.aborted) return;
      if (door === "search") part.openSearch(host, typed, signal);
      else if (door === "glossary") part.openGlossary(host, typed, signal);
      else part.openHelp(settings, keys.all, signal);
    } catch {
      // The pages themselves lead on: contents, glossary and search have addresses of their own.
      if (door !== "help") location.assign(`${host.config.root}${door === "search" ? "search" : "book/glossary"}.html`);
    }
  };
  for (const button of document.querySelectorAll<HTMLElement>("[data-tl-opens]")) {
    button.addEventListener("click", () => void open(button.dataset["tlOpens"] as Door), { signal });
  }
  keys.add({ key: "/", does: "Search the book", act: () => void open("search") });
  keys.add({ key: "g", does: "Open the glossary", act: () => void open("glossary") });
  keys.add({ key: "?", does: "Show these keys", act: () => void open("help") });
  addTurning(keys);
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
    event.preventDefault();
    void open("search");
  }, { signal });
  const place = document.getElementById("tl-search-page");
  if (place) void finder().then((part) => part.showSearchPage(host, place, signal));
}

/** Letters typed before the field is there are meant for it, and not for the page's single keys. */
async function whileTyping(loading: Promise<FinderPart>, signal: AbortSignal): Promise<{ part: FinderPart; typed: string }> {
  let typed = "";
  const done = new AbortController();
  const keep = (event: KeyboardEvent): void => {
    if (event.key.length !== 1 || event.ctrlKey || event.metaKey || event.altKey || isTypedInto(event.target)) return;
    typed += event.key;
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  window.addEventListener("keydown", keep, { capture: true, signal: AbortSignal.any([signal, done.signal]) });
  try {
    const part = await loading;
    return { part, typed };
  } finally {
    done.abort();
  }
}

function addTurning(keys: Keys): void {
  const turn = (selector: string) => () => document.querySelector<HTMLAnchorElement>(selector)?.click();
  keys.add({ key: "n", does: "Next page", act: turn("a.right-next") });
  keys.add({ key: "p", does: "Previous page", act: turn("a.left-prev") });
}
