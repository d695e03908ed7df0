// The Lab as an anywidget brings it along, for JupyterLab and Colab: whole in itself, without the book around it.

import { el } from "../dom";
import { LabRefusal } from "./app_contract";
import { mountLab } from "./shell/shell";
import type { WidgetModel } from "./sources/live";
import { parseState } from "./state";

interface RenderProps {
  readonly model: WidgetModel;
  readonly el: HTMLElement;
}

export default {
  render({ model, el: place }: RenderProps): () => void {
    const gone = new AbortController();
    const surroundings = {
      loadFrozen: null,
      widget: model,
      startKernel: null,
      term: (_: string, words: string) => el("span", {}, words),
    };
    place.classList.add("lab-alone");
    mountLab(place, surroundings, parseState(model.get("state")), gone.signal);
    return () => gone.abort(new LabRefusal({ message: "This Lab was closed.", code: "closed" }));
  },
};
