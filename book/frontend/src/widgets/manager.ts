// Owns the widgets of one kernel or of one stored page: which classes they may be, and how they reach the page.
// Refuses classes from elsewhere: an unknown module is shown as a sentence, an anywidget in the isolated frame.

import * as base from "@jupyter-widgets/base";
import { ManagerBase } from "@jupyter-widgets/base-manager";
import * as controls from "@jupyter-widgets/controls";
import { Widget } from "@lumino/widgets";
import type { OutputSink, WidgetManager, WidgetTools } from "./contract";
import { typeset } from "../figures/maths";
import { IsolatedModel, isolatedView } from "./isolated_view";
import { keepNamed } from "./naming";
import { capturingModel, captureView } from "./output_widget";
import { cleanViews } from "./clean_views";
import { UnknownModel, UnknownView } from "./unknown";

type Classes = Readonly<Record<string, unknown>>;
type CommMessage = Parameters<ManagerBase["handle_comm_open"]>[1];
type KernelComm = ConstructorParameters<typeof base.shims.services.Comm>[0];

export class BookManager extends ManagerBase implements WidgetManager {
  /** Where ipywidgets looks for something that sets its formulas. */
  readonly _rendermime = { latexTypesetter: { typeset: (element: HTMLElement) => void typeset(this.tools.host.config, element) } };
  readonly #classes: ReadonlyMap<string, Classes>;

  constructor(private readonly tools: WidgetTools) {
    super();
    this.#classes = new Map<string, Classes>([
      ["@jupyter-widgets/base", base],
      ["@jupyter-widgets/controls", { ...controls, ...cleanViews(tools) }],
      ["@jupyter-widgets/output", { OutputModel: capturingModel(tools), OutputView: captureView(tools) }],
      ["anywidget", { AnyModel: IsolatedModel, AnyView: isolatedView(tools.host) }],
    ]);
  }

  async opened(comm: unknown, message: unknown): Promise<void> {
    await this.handle_comm_open(new base.shims.services.Comm(comm as KernelComm), message as CommMessage);
  }

  async restore(state: unknown): Promise<void> {
    await this.set_state(state as Parameters<ManagerBase["set_state"]>[0]);
  }

  has(modelId: string): boolean {
    return this.has_model(modelId);
  }

  async show(target: HTMLElement, modelId: string, sink: OutputSink, signal: AbortSignal): Promise<void> {
    const model = await this.get_model(modelId);
    const view = await this.create_view<base.DOMWidgetView>(model as base.DOMWidgetModel, { sink });
    if (signal.aborted || !target.isConnected) {
      view.remove();
      return;
    }
    target.classList.add("tl-widgets");
    Widget.attach(view.luminoWidget, target);
    keepNamed(target, signal);
    signal.addEventListener("abort", () => view.remove());
  }

  /** What a callback prints goes to the outputs of the cell that shows the widget. */
  override callbacks(view?: base.WidgetView): base.ICallbacks {
    const sink = sinkOf(view);
    if (!sink) return {};
    const hear = (message: unknown): void => {
      const event = this.tools.translate(message);
      if (event) sink.handle(event);
    };
    return { iopub: { output: hear, clear_output: hear } };
  }

  /** Descriptions may hold HTML: the page's own sanitiser decides about it. */
  override inline_sanitize(source: string): string {
    const box = document.createElement("div");
    box.append(this.tools.sanitise(source));
    return box.innerHTML;
  }

  protected loadClass(className: string, moduleName: string): Promise<typeof base.WidgetModel | typeof base.WidgetView> {
    const found = this.#classes.get(moduleName)?.[className] ?? (className.endsWith("View") ? UnknownView : UnknownModel);
    return Promise.resolve(found as typeof base.WidgetModel);
  }

  protected _create_comm(): Promise<base.IClassicComm> {
    return Promise.reject(new Error("widgets are made in the kernel: expected no request from the page, got one"));
  }

  /** Stored models are made from their state alone. */
  protected _get_comm_info(): Promise<Record<string, never>> {
    return Promise.resolve({});
  }
}

interface Nested {
  readonly options?: { readonly parent?: Nested; readonly sink?: OutputSink };
}

/** A widget inside others answers where the outermost one is shown. */
function sinkOf(view: unknown): OutputSink | null {
  for (let nested = view as Nested | undefined; nested; nested = nested.options?.parent) {
    if (nested.options?.sink) return nested.options.sink;
  }
  return null;
}
