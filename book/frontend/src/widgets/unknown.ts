// Owns what stands in the place of a widget whose code the book does not carry: a sentence, instead of an endless wait.

import { DOMWidgetModel, DOMWidgetView } from "@jupyter-widgets/base";
import { unknownSentence } from "./refusals";

export class UnknownModel extends DOMWidgetModel {}

export class UnknownView extends DOMWidgetView {
  override render(): void {
    this.el.classList.add("tl-notice");
    this.el.textContent = unknownSentence(String(this.model.get("_model_module") ?? ""), String(this.model.get("_model_name") ?? ""));
  }
}
