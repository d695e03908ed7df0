// Owns tlab's Lab as a widget: the page shows it with its own code, whatever code the kernel sent along.

import type { DOMWidgetModel, WidgetModel as BaseModel } from "@jupyter-widgets/base";
import { el } from "../dom";
import { LAB_WIDGET } from "../lab/part";
import type { WidgetModel } from "../lab/sources/live";
import { loadPart, loadStyle, type Host } from "../parts";
import { siteUrl } from "../page_config";

const GONE = "The kernel behind this Lab is gone.";

export function isLab(model: DOMWidgetModel): boolean {
  return model.get("_anywidget_id") === LAB_WIDGET;
}

export async function showLab(host: Host, place: HTMLElement, model: DOMWidgetModel, signal: AbortSignal): Promise<void> {
  try {
    const [part] = await Promise.all([loadPart(host.config, "lab"), loadStyle(siteUrl(host.config, "_static/lab.css"))]);
    if (signal.aborted) return;
    const mounted = part.mountWidget(host, place, lent(model, () => mounted.lose(GONE)), signal);
    if (!model.comm_live) mounted.lose(GONE);
  } catch {
    place.replaceChildren(el("p", { class: "tl-notice" }, "The Lab's script did not load. Reload the page."));
  }
}

/** What the Lab may do with a widget: read values, send, and hear what comes. */
export function lent(model: BaseModel, onLost: () => void): WidgetModel {
  model.on("comm_live_update", () => {
    if (!model.comm_live) onLost();
  });
  return {
    get: (name) => model.get(name) as unknown,
    send: (content) => {
      if (!model.comm_live) throw new Error("the kernel is gone: expected an open comm, got a closed one");
      model.send(content as never, {});
    },
    on: (event, hear) => void model.on(event, hear),
    off: (event, hear) => void model.off(event, hear),
  };
}
