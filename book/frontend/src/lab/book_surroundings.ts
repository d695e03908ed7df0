// Owns what the book gives a Lab: frozen files beside the page, its glossary, its kernel.

import { el } from "../dom";
import { loadScript, type Host } from "../parts";
import { siteUrl } from "../page_config";
import { entryUrl, GLOSSARY_PAGE, loadGlossary } from "../reading/glossary_data";
import type { WidgetModel } from "./sources/live";
import type { Surroundings } from "./surroundings";

export function bookSurroundings(host: Host, widget: WidgetModel | null): Surroundings {
  return {
    loadFrozen: (file) => loadScript(siteUrl(host.config, `_static/lab/${file}`)),
    widget,
    startKernel: host.startLab,
    term: (name, words) => term(host, name, words),
  };
}

/** A link as the build makes them, so that the page's bubble shows the definition. */
function term(host: Host, name: string, words: string): HTMLElement {
  const link = el("a", { class: "tl-term", href: siteUrl(host.config, `${GLOSSARY_PAGE}.html`) }, words);
  loadGlossary(host.config).then(
    (entries) => {
      const entry = entries.find(({ terms }) => terms.some((known) => known.toLowerCase() === name.toLowerCase()));
      if (entry) link.href = entryUrl(host.config, entry);
    },
    () => undefined, // The link leads to the glossary all the same.
  );
  return link;
}
