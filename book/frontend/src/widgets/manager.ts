// Owns the widgets of one kernel or of one stored page: which classes they may be, and how they reach the page.
// Refuses classes from elsewhere: an unknown module is shown as a sentence, an anywidget in the isolated frame.

import * as base from "@jupyter-widgets/base";
import { ManagerBase } from "@jupyter-widgets/base-manager";
import * as controls from "@jupyter-widgets/controls";
import { Widget } from "@lumino/widgets";
import type { OutputSink, WidgetManager, WidgetTools } from "./contract";
import { typeset } from "../figures/maths";
import { IsolatedModel, isolatedView } from "./isolated_view";
import type { WidgetModel } from "../lab/sources/live";
import { lent } from "./lab_view";
import { LiveFigureModel, liveFigureView } from "./live_figure";
import { keepNamed } from "./naming";
import { capturingModel, captureView } from "./output_widget";
import { cleanViews } from "./clean_views";
import { FailedView, UnknownModel, UnknownView } from "./unknown";

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
      ["@jupyter-widgets/base", { ...base, ErrorWidgetView: FailedView }],
      ["@jupyter-widgets/controls", { ...controls, ...cleanViews(tools) }],
      ["@jupyter-widgets/output", { OutputModel: capturingModel(tools), OutputView: captureView(tools) }],
      ["tlab-figure", { LiveFigureModel, LiveFigureView: liveFigureView(tools.host) }],
      ["anywidget", { AnyModel: IsolatedModel, AnyView: isolatedView(tools.host) }],
    ]);
  }

  async opened(comm: unknown, message: unknown): Promise<void> {
    // A widget that cannot be made is told where it is to be shown.
    await this.handle_comm_open(new base.shims.services.Comm(comm as KernelComm), message as CommMessage).catch(() => undefined);
  }

  async restore(state: unknown): Promise<void> {
    // One damaged model must not take the others along.
    await Promise.resolve(state).then((given) => this.set_state(given as Parameters<ManagerBase["set_state"]>[0])).catch(() => undefined);
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
    signal.addEventListener("abort", () => {
      // The place may be out of the page already, which Lumino would call an error.
      if (!target.isConnected) view.luminoWidget?.clearFlag(Widget.Flag.IsAttached);
      view.remove();
    });
  }

  async lend(modelId: string, onLost: () => void): Promise<WidgetModel> {
    return lent(await this.get_model(modelId), onLost);
  }

  /** As ipywidgets makes a view, but for what stands in the place of one that fails. */
  override create_view<View extends base.WidgetView>(model: base.WidgetModel, options: unknown = {}): Promise<View> {
    const id = base.uuid();
    const made = model.state_change.then(async () => {
      const View = (await this.loadClass(String(model.get("_view_name")), String(model.get("_view_module")), "view")) as typeof base.WidgetView;
      let view = new View({ model, options });
      try {
        await view.render();
      } catch {
        view.remove();
        view = new FailedView({ model, options });
        await view.render();
      }
      view.listenTo(model, "destroy", view.remove);
      view.once("remove", () => {
        if (model.views) delete model.views[id];
      });
      return view;
    });
    model.state_change = made;
    if (model.views) model.views[id] = made;
    return made as Promise<View>;
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

  protected override loadModelClass(className: string, moduleName: string): Promise<typeof base.WidgetModel> {
    return this.loadClass(className, moduleName, "model") as Promise<typeof base.WidgetModel>;
  }

  protected async loadClass(className: string, moduleName: string, kind: string): Promise<typeof base.WidgetModel | typeof base.WidgetView> {
    const [parent, unknown] = kind === "view" ? [base.WidgetView, UnknownView] : [base.WidgetModel, UnknownModel];
    const classes = this.#classes.get(moduleName) ?? {};
    const found: unknown = Object.hasOwn(classes, className) ? classes[className] : null;
    // A name in a state may be any of a module's exports: only a class of the right kind is made.
    const fits = typeof found === "function" && found.prototype instanceof parent;
    return (fits ? found : unknown) as typeof base.WidgetModel;
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
