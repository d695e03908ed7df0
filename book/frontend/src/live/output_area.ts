// Owns the outputs of one run, in order. A renderer that fails shows the text twin; the page lives on.

import { el, unreachable } from "../dom";
import { typeset } from "../figures/maths";
import { sortTables } from "../figures/tables";
import { figureView, frameView } from "../figures/views";
import type { Host } from "../parts";
import type { CellOutputs, MimeBundle, OutputEvent } from "./contract";
import { gridView } from "./grid";
import { focusQuestion, questionView } from "./input_view";
import { latexView, markdownView } from "./markdown";
import { chooseRendering, type Rendering } from "./rendering";
import { sanitise } from "./sanitise";
import { StreamView } from "./stream_view";
import { ansiNodes } from "./terminal_text";
import { errorView } from "./traceback";
import type { WidgetSession } from "./widget_session";

/** Every place on the page that shows a display id: an update may come from another cell. */
const places = new Map<string, Set<Place>>();

interface Place {
  readonly slot: HTMLElement;
  readonly area: OutputArea;
}

export class OutputArea implements CellOutputs {
  #stream: StreamView | null = null;
  #clearsNext = false;
  #drawing: Promise<void> = Promise.resolve();

  constructor(
    private readonly host: Host,
    private readonly container: HTMLElement,
    private readonly signal: AbortSignal,
    private readonly widgets: () => WidgetSession | null = () => null,
  ) {
    signal.addEventListener("abort", () => this.#forgetPlaces());
  }

  get isEmpty(): boolean {
    return this.container.childElementCount === 0;
  }

  handle(event: OutputEvent): void {
    switch (event.kind) {
      case "clear":
        if (event.wait) this.#clearsNext = true;
        else this.#clear();
        return;
      case "stream":
        this.#beforeOutput();
        this.#appendStream(event.name, event.text);
        return;
      case "display":
        this.#beforeOutput();
        this.#appendDisplay(event.bundle, event.displayId);
        return;
      case "update":
        for (const { slot, area } of places.get(event.displayId) ?? []) area.#fill(slot, event.bundle);
        return;
      case "ask": {
        this.#beforeOutput();
        const view = questionView(event.question, this.signal);
        this.#append(view);
        focusQuestion(view);
        return;
      }
      case "error":
        this.#beforeOutput();
        this.#append(errorView(event.error));
        return;
      default:
        unreachable(event);
    }
  }

  async drawn(): Promise<void> {
    this.#stream?.flush();
    await this.#drawing;
  }

  #beforeOutput(): void {
    if (this.#clearsNext) this.#clear();
  }

  #clear(): void {
    this.#clearsNext = false;
    this.#stream = null;
    this.#forgetPlaces();
    this.container.replaceChildren();
  }

  #append(element: HTMLElement): void {
    this.#stream?.flush();
    this.#stream = null;
    this.container.append(element);
  }

  #appendStream(name: "stdout" | "stderr", text: string): void {
    if (this.#stream?.name !== name) {
      const view = new StreamView(name, this.signal);
      this.#append(view.element);
      this.#stream = view;
    }
    this.#stream?.write(text);
  }

  #appendDisplay(bundle: MimeBundle, displayId: string | null): void {
    const slot = el("div", { class: "output tl-slot" });
    this.#append(slot);
    if (displayId !== null) {
      const known = places.get(displayId) ?? new Set();
      places.set(displayId, known.add({ slot, area: this }));
    }
    this.#fill(slot, bundle);
  }

  #fill(slot: HTMLElement, bundle: MimeBundle): void {
    const rendering = chooseRendering(bundle);
    // One after the other: a figure's size may depend on what stands above it.
    this.#drawing = this.#drawing.then(() => this.#draw(slot, rendering)).catch(() => this.#fallBack(slot, bundle));
  }

  async #draw(slot: HTMLElement, rendering: Rendering): Promise<void> {
    if (this.signal.aborted) return;
    switch (rendering.kind) {
      case "figure":
        return figureView(this.host, slot, rendering.figure, rendering.twin, this.signal);
      case "frame":
        return frameView(this.host, slot, rendering.html, rendering.twin, this.signal);
      case "html":
        slot.replaceChildren(el("div", { class: "text_html tl-scroll", tabindex: "0" }, sanitise(rendering.html)));
        return sortTables(slot);
      case "markdown":
        slot.replaceChildren(markdownView(rendering.source));
        return typeset(this.host.config, slot);
      case "latex":
        slot.replaceChildren(latexView(rendering.source));
        return typeset(this.host.config, slot);
      case "image":
        return slot.replaceChildren(el("img", { src: rendering.url, alt: rendering.alt }));
      case "grid":
        return gridView(slot, rendering.grid, rendering.twin, (container, signal) => this.#inner(container, signal), this.signal);
      case "widget":
        return this.#drawWidget(slot, rendering);
      case "text":
        return slot.replaceChildren(el("pre", { class: "tl-text", tabindex: "0" }, ...ansiNodes(rendering.text)));
      case "nothing":
        return slot.replaceChildren();
      default:
        return unreachable(rendering);
    }
  }

  /** A renderer that fails leaves what the output says in text. */
  #fallBack(slot: HTMLElement, bundle: MimeBundle): void {
    const twin = bundle["text/plain"];
    const text = typeof twin === "string" && twin !== "" ? twin : "This output could not be drawn.";
    slot.replaceChildren(el("pre", { class: "tl-text", tabindex: "0" }, ...ansiNodes(text)));
  }

  #inner(container: HTMLElement, signal: AbortSignal): OutputArea {
    return new OutputArea(this.host, container, signal, this.widgets);
  }

  async #drawWidget(slot: HTMLElement, { modelId, twin }: Extract<Rendering, { kind: "widget" }>): Promise<void> {
    const session = this.widgets();
    if (session) return session.show(slot, modelId, twin, this, this.signal);
    slot.replaceChildren(el("pre", { class: "tl-text", tabindex: "0" }, twin));
  }

  #forgetPlaces(): void {
    for (const [displayId, known] of places) {
      for (const place of known) if (place.area === this) known.delete(place);
      if (known.size === 0) places.delete(displayId);
    }
  }
}
