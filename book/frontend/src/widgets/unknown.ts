// Owns what stands in the place of a widget that cannot be shown: a sentence, instead of an endless wait.

import { DOMWidgetModel, DOMWidgetView } from "@jupyter-widgets/base";
import { unknownSentence } from "./refusals";

export class UnknownModel extends DOMWidgetModel {}

export class UnknownView extends DOMWidgetView {
  override render(): void {
    this.el.classList.add("tl-notice");
    this.el.textContent = unknownSentence(String(this.model.get("_model_module") ?? ""), String(this.model.get("_model_name") ?? ""));
  }
}

/** ipywidgets' own view of a failure pastes names from the widget's state into the page as HTML; this one is text. */
export class FailedView extends DOMWidgetView {
  override render(): void {
    this.el.classList.add("tl-notice");
    this.el.textContent = "This widget could not be drawn: its state is damaged or incomplete. Run the cell again.";
  }
}
