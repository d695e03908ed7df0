// Entry of the part that loads with the first search, look into the glossary, or call for help.

import { offerPart, type Host } from "../parts";
import { GlossaryPanel } from "./glossary_panel";
import { Help } from "./help";
import { SearchView } from "./search_view";
import { Sheet } from "./sheet";

let search: { sheet: Sheet; view: SearchView } | null = null;
let glossary: GlossaryPanel | null = null;
let help: Help | null = null;

offerPart("finder", {
  openSearch: (host, typed, signal) => {
    search ??= searchSheet(host, signal);
    search.sheet.open(search.view.field);
    search.view.field.select();
    if (typed !== "") search.view.type(typed);
  },
  openGlossary: (host, typed, signal) => void (glossary ??= new GlossaryPanel(host, signal)).open(typed),
  openHelp: (settings, keys, signal) => (help ??= new Help(settings, keys, signal)).open(),
  showSearchPage: (host, place, signal) => {
    const view = new SearchView(host, signal, "h2", remember);
    place.replaceChildren(view.element);
    view.field.value = new URLSearchParams(location.search).get("q") ?? "";
    view.field.focus();
    void view.search(view.field.value);
  },
});

function searchSheet(host: Host, signal: AbortSignal): { sheet: Sheet; view: SearchView } {
  const sheet = new Sheet("Search", "middle", signal);
  const view = new SearchView(host, signal);
  sheet.body.append(view.element);
  // A result on this very page loads nothing new: the dialog has to go by itself.
  view.element.addEventListener("click", (event) => event.target instanceof Element && event.target.closest("a") && sheet.close(), { signal });
  return { sheet, view };
}

function remember(query: string): void {
  try {
    history.replaceState(null, "", query === "" ? location.pathname : `?q=${encodeURIComponent(query)}`);
  } catch {
    // A browser that refuses this for local files loses only the shareable address.
  }
}
