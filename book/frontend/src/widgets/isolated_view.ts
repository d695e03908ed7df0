// Owns an anywidget in the page: its model, and a view whose code runs in the isolated frame. The page never runs it.

import { DOMWidgetModel, DOMWidgetView } from "@jupyter-widgets/base";
import { openFrame, type Frame } from "../figures/isolated_frame";
import { scheme } from "../figures/theme";
import type { Host } from "../parts";
import { isLab, showLab } from "./lab_view";
import { ownValues, parseFromWidget, type Values } from "./bridge";
import { problemWith } from "./refusals";

export class IsolatedModel extends DOMWidgetModel {}

export function isolatedView(host: Host): typeof DOMWidgetView {
  return class IsolatedView extends DOMWidgetView {
    #gone = new AbortController();
    #frame: Frame | null = null;
    /** What the frame has said itself is not told back to it. */
    #heard: Values | null = null;

    override render(): void {
      if (isLab(this.model)) {
        void this.displayed.then(() => showLab(host, this.el, this.model, this.#gone.signal));
        return;
      }
      this.el.classList.add("tl-anywidget");
      const problem = problemWith(this.model.attributes);
      if (problem !== null) {
        this.el.classList.add("tl-notice");
        this.el.textContent = problem;
        return;
      }
      this.listenTo(this.model, "change", () => this.#tellChanges());
      this.listenTo(this.model, "msg:custom", (content: unknown, buffers: readonly DataView[] = []) =>
        this.#frame?.send({ kind: "tl-widget-custom", content, buffers }),
      );
      // A frame that is moved in the page loads anew: it is made where it stays.
      void this.displayed.then(() => this.#open());
    }

    override remove(): this {
      this.#gone.abort();
      return super.remove();
    }

    #open(): void {
      const title = nameOf(this.model.get("_anywidget_id"));
      const start = () => {
        const { _esm: esm, _css: css } = this.model.attributes;
        const state = ownValues(this.model.attributes);
        return { kind: "tl-widget", esm: String(esm), css: String(css ?? ""), state, title, scheme: scheme() } as const;
      };
      this.#frame = openFrame(host.config, this.el, title, start, (data) => this.#hear(data), this.#gone.signal);
    }

    #hear(data: unknown): void {
      const message = parseFromWidget(data, ownValues(this.model.attributes));
      if (message?.kind === "tl-widget-send") this.send(message.content as never, message.buffers as ArrayBuffer[]);
      if (message?.kind !== "tl-widget-set") return;
      this.#heard = message.changes;
      try {
        this.model.set(message.changes);
      } finally {
        this.#heard = null;
      }
      this.touch();
    }

    #tellChanges(): void {
      const news = Object.entries(ownValues(this.model.changedAttributes() || {}));
      const changes = Object.fromEntries(news.filter(([name, value]) => this.#heard?.[name] !== value));
      if (Object.keys(changes).length > 0) this.#frame?.send({ kind: "tl-widget-changed", changes });
    }
  } as typeof DOMWidgetView;
}

/** `__main__.Counter` is called Counter. */
function nameOf(id: unknown): string {
  const name = typeof id === "string" ? id.split(".").at(-1) : undefined;
  return name ? `Widget ${name.slice(0, 60)}` : "Widget";
}
