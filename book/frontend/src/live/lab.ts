// Owns how a Lab that the page already shows gets a kernel behind it: a widget is made there, and its model is lent.

import type { WidgetModel } from "../lab/sources/live";
import { ServerError } from "../server_error";
import type { LiveKernel } from "./contract";
import { presentWidgets } from "./widget_session";

/** Makes no name in the reader's session. */
const CODE = '__import__("tlab.lab", fromlist=["open"]).open()';
const VIEW = "application/vnd.jupyter.widget-view+json";

export async function openLab(kernel: LiveKernel, onLost: (reason: string) => void): Promise<WidgetModel> {
  const view = (await kernel.show(CODE))[VIEW];
  const id = typeof view === "object" && view !== null ? (view as Record<string, unknown>)["model_id"] : undefined;
  const model = typeof id === "string" ? await presentWidgets()?.lend(id, () => onLost(GONE)) : undefined;
  if (model) return model;
  throw new ServerError({ code: "no-lab", message: "The kernel made no Lab.", hint: "Its version of tlab may be another one: build and start the book again.", status: 0 });
}

const GONE = "The kernel behind this Lab is gone.";
