// Owns ipywidgets' Output widget, on which `interact` stands: it takes a message's outputs away from the cell and draws
// them with the page's own renderers.

import { DOMWidgetModel, DOMWidgetView } from "@jupyter-widgets/base";
import type { CellOutputs, OutputEvent } from "../live/contract";
import type { WidgetTools } from "./contract";
import { appended, eventsOf, type StoredOutput } from "./stored_outputs";

/** What is longer stays in the page: the kernel only hears of outputs that its connection can carry back. */
const MAX_TOLD_CHARS = 500_000;

interface CapturingModel extends DOMWidgetModel {
  /** Hear what comes from now on. */
  onEvent(hear: (event: OutputEvent) => void, signal: AbortSignal): void;
}

export function capturingModel(tools: WidgetTools): typeof DOMWidgetModel {
  return class OutputModel extends DOMWidgetModel implements CapturingModel {
    #stop: () => void = () => undefined;
    #hearers = new Set<(event: OutputEvent) => void>();
    #clearsNext = false;

    override defaults(): Backbone.ObjectHash {
      return { ...super.defaults(), _model_name: "OutputModel", _view_name: "OutputView", msg_id: "", outputs: [] };
    }

    override initialize(attributes: Backbone.ObjectHash, options: Parameters<DOMWidgetModel["initialize"]>[1]): void {
      super.initialize(attributes, options);
      this.listenTo(this, "change:msg_id", () => this.#divert());
      this.listenTo(this, "change:outputs", (_model, _value, from?: { fromMessage?: boolean }) => {
        if (from?.fromMessage) return;
        this.#tell({ kind: "clear", wait: false });
        for (const event of eventsOf(this.get("outputs"))) this.#tell(event);
      });
      this.listenTo(this, "destroy", () => this.#stop());
    }

    onEvent(hear: (event: OutputEvent) => void, signal: AbortSignal): void {
      this.#hearers.add(hear);
      signal.addEventListener("abort", () => this.#hearers.delete(hear));
    }

    #divert(): void {
      this.#stop();
      const messageId = String(this.get("msg_id") ?? "");
      this.#stop = messageId === "" ? () => undefined : tools.divert(messageId, (message) => this.#hear(message));
    }

    #hear(message: unknown): void {
      const event = tools.translate(message);
      if (!event) return;
      this.#tell(event);
      if (event.kind === "clear" && event.wait) this.#clearsNext = true;
      else this.#keep(event);
    }

    /** Python reads `output.outputs`; so what was taken is told back. */
    #keep(event: OutputEvent): void {
      const before: StoredOutput[] = this.#clearsNext ? [] : (this.get("outputs") ?? []);
      this.#clearsNext = false;
      const outputs = appended(before, event);
      this.set({ outputs }, { fromMessage: true } as Backbone.ModelSetOptions);
      if (JSON.stringify(outputs).length <= MAX_TOLD_CHARS) this.save_changes();
    }

    #tell(event: OutputEvent): void {
      for (const hear of this.#hearers) hear(event);
    }
  } as typeof DOMWidgetModel;
}

export function captureView(tools: WidgetTools): typeof DOMWidgetView {
  return class OutputView extends DOMWidgetView {
    #outputs: CellOutputs | null = null;
    #shown = new AbortController();

    override render(): void {
      this.el.classList.add("jupyter-widgets", "tl-widget-output");
      const outputs = tools.openOutputs(this.el, this.#shown.signal);
      this.#outputs = outputs;
      const model = this.model as CapturingModel;
      model.onEvent((event) => outputs.handle(event), this.#shown.signal);
      // A figure is as wide as its place: it can be drawn only once there is one.
      void this.displayed.then(() => {
        for (const event of eventsOf(model.get("outputs"))) this.#outputs?.handle(event);
      });
    }

    override remove(): this {
      this.#shown.abort();
      return super.remove();
    }
  };
}
