// Owns tlab's live figure: a model that holds a figure, and a view that the page's own plotly draws.

import { DOMWidgetModel, DOMWidgetView } from "@jupyter-widgets/base";
import { figureView, titleOf } from "../figures/views";
import type { Host } from "../parts";

export class LiveFigureModel extends DOMWidgetModel {}

export function liveFigureView(host: Host): typeof DOMWidgetView {
  return class LiveFigureView extends DOMWidgetView {
    #drawn: AbortController | null = null;
    #drawing: Promise<void> | null = null;
    #isStale = false;

    override render(): void {
      this.el.classList.add("tl-live-figure");
      this.listenTo(this.model, "change:figure", () => void this.#draw());
      // A figure is as wide as its place: it can be drawn only once there is one.
      void this.displayed.then(() => this.#draw());
    }

    override remove(): this {
      this.#isStale = false;
      this.#drawn?.abort();
      return super.remove();
    }

    /** A quick hand moves past figures: only the last is drawn. */
    #draw(): Promise<void> {
      this.#isStale = true;
      return (this.#drawing ??= this.#drawAll().finally(() => (this.#drawing = null)));
    }

    async #drawAll(): Promise<void> {
      while (this.#isStale) {
        this.#isStale = false;
        const figure: unknown = this.model.get("figure");
        this.el.style.minHeight = `${this.el.clientHeight}px`;
        this.#drawn?.abort();
        this.#drawn = new AbortController();
        await figureView(host, this.el, figure, `A live figure: ${titleOf(figure) ?? "without a title"}`, this.#drawn.signal);
        this.el.style.minHeight = "";
      }
    }
  } as typeof DOMWidgetView;
}
