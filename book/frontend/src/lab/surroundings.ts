// Owns the words for what differs between the book, JupyterLab and Colab. It runs nothing.

import type { WidgetModel } from "./sources/live";

export interface Surroundings {
  /** Adds a script from the folder of frozen files; null where there is no such folder. */
  readonly loadFrozen: ((file: string) => Promise<void>) | null;
  /** The widget that shows this Lab, where one does. */
  readonly widget: WidgetModel | null;
  /** Starts a kernel and answers with its widget; null where none is to be had. `onLost` hears that it is gone. */
  readonly startKernel: ((onLost: (reason: string) => void) => Promise<WidgetModel>) | null;
  /** A word that leads to its definition, as well as that goes here. */
  term(name: string, words: string): HTMLElement;
}
