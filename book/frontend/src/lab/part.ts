// Owns what the page and the Lab's lazy script promise each other. It runs nothing.

import type { Host } from "../parts";
import type { WidgetModel } from "./sources/live";

export interface LabPart {
  /** @param given a `LabState` as the build wrote it; checked before it is used. */
  mount(host: Host, place: HTMLElement, given: unknown, signal: AbortSignal): void;
  /** Show a kernel's Lab with the page's own code. */
  mountWidget(host: Host, place: HTMLElement, widget: WidgetModel, signal: AbortSignal): { lose(reason: string): void };
}

/** The name by which a kernel's Lab is known, so that the page shows it with its own code and runs none of the kernel's. */
export const LAB_WIDGET = "tlab.lab.widget.Lab";
