// Owns the widgets of one kernel or of one stored page, and loads their code with the first of them.

import { el } from "../dom";
import { loadPart, loadStyle, type Host } from "../parts";
import { siteUrl } from "../page_config";
import type { WidgetModel } from "../lab/sources/live";
import type { OutputSink, WidgetManager } from "../widgets/contract";
import { translate } from "./messages";
import { OutputArea } from "./output_area";
import { sanitise } from "./sanitise";

type Divert = (messageId: string, hear: (message: unknown) => void) => () => void;
type Message = Parameters<typeof translate>[0];

export class WidgetSession {
  #manager: Promise<WidgetManager> | null = null;
  #isConnected: boolean;

  /** @param divert how to hear the outputs that answer one message; null when there is no kernel. */
  constructor(private readonly host: Host, private readonly divert: Divert | null) {
    this.#isConnected = divert !== null;
  }

  /** The kernel made a widget. Later messages wait for this, so that none overtakes the widget's code. */
  async opened(comm: unknown, message: unknown): Promise<void> {
    await (await this.#load()).opened(comm, message);
  }

  async restore(state: unknown): Promise<void> {
    await (await this.#load()).restore(state);
  }

  /** Draw a widget in `slot`, or say why not. */
  async show(slot: HTMLElement, modelId: string, twin: string, sink: OutputSink, signal: AbortSignal): Promise<void> {
    const manager = await this.#load();
    if (!manager.has(modelId)) {
      slot.replaceChildren(el("p", { class: "tl-notice" }, lostSentence(twin)));
      return;
    }
    const target = el("div", { class: "tl-widget-place" });
    slot.replaceChildren(target);
    try {
      await manager.show(target, modelId, sink, signal);
    } catch {
      slot.replaceChildren(el("p", { class: "tl-notice" }, DAMAGED));
      return;
    }
    if (!this.#isConnected) slot.append(el("p", { class: "tl-widget-note" }, STILL));
  }

  /** A widget's model for code of the page; `onLost` hears that its kernel is gone. */
  async lend(modelId: string, onLost: () => void): Promise<WidgetModel> {
    return (await this.#load()).lend(modelId, onLost);
  }

  disconnect(): void {
    if (!this.#isConnected) return;
    this.#isConnected = false;
    void this.#manager?.then((manager) => manager.disconnect());
    for (const place of document.querySelectorAll(".tl-live .tl-slot > .tl-widget-place")) {
      if (place.nextElementSibling === null) place.after(el("p", { class: "tl-widget-note" }, GONE));
    }
  }

  #load(): Promise<WidgetManager> {
    return (this.#manager ??= this.#make().catch((error: unknown) => {
      this.#manager = null;
      throw error;
    }));
  }

  async #make(): Promise<WidgetManager> {
    const { config } = this.host;
    // Without its style a slider measures itself wrongly.
    const [part] = await Promise.all([loadPart(config, "widgets"), loadStyle(siteUrl(config, "_static/widgets.css"))]);
    return part.createManager({
      host: this.host,
      openOutputs: (container, signal) => new OutputArea(this.host, container, signal, () => this),
      translate: (message) => translate(message as Message, null),
      sanitise,
      divert: this.divert ?? (() => () => undefined),
    });
  }
}

/** The widgets of the page's present kernel: what a cell shows belongs to them. */
let present: WidgetSession | null = null;

export function presentWidgets(): WidgetSession | null {
  return present;
}

export function setPresentWidgets(session: WidgetSession): void {
  present = session;
}

let stored: Promise<WidgetSession> | null = null;

/** The widgets whose state was stored with the page; made once. */
export function storedWidgets(host: Host): Promise<WidgetSession> {
  return (stored ??= restoreStored(host));
}

async function restoreStored(host: Host): Promise<WidgetSession> {
  const session = new WidgetSession(host, null);
  const text = document.querySelector('script[type="application/vnd.jupyter.widget-state+json"]')?.textContent;
  if (text) await session.restore(JSON.parse(text));
  return session;
}

export function lostSentence(twin: string): string {
  if (twin.startsWith("FigureWidget")) {
    return "go.FigureWidget brings 5 MB of code with every figure and is not drawn here. Use go.Figure instead; for one that changes, tlab.views.live_figure(…).";
  }
  return "This widget's state did not reach the page, so it cannot be shown. Run the cell again.";
}

const DAMAGED = "This widget could not be drawn: its state is damaged or incomplete. Run the cell again.";
const STILL = "This moves, but computes nothing without a kernel: run the cell to connect it.";
const GONE = "The kernel behind this is gone: it moves, but computes nothing. Run the cell again.";
