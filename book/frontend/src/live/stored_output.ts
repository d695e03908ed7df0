// Owns outputs that the page stores as data and draws with the live renderers: widgets, formulas, Markdown.

import type { Host } from "../parts";
import type { MimeBundle } from "./contract";
import { OutputArea } from "./output_area";
import { WIDGET } from "./rendering";
import { storedWidgets } from "./widget_session";

export async function showStored(host: Host, slot: HTMLElement, bundle: MimeBundle, signal: AbortSignal): Promise<void> {
  const widgets = bundle[WIDGET] === undefined ? null : await storedWidgets(host);
  slot.replaceChildren();
  const area = new OutputArea(host, slot, signal, () => widgets);
  area.handle({ kind: "display", bundle, displayId: null });
  await area.drawn();
}
