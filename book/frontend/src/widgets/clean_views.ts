// Owns the widgets that hold HTML. ipywidgets pastes their value into the page as it is; here it is cleaned first.

import { HTMLMathView, HTMLView } from "@jupyter-widgets/controls";
import { typeset } from "../figures/maths";
import type { WidgetTools } from "./contract";

/** Views for `HTML` and `HTMLMath` under the names by which their models ask for them. */
export function cleanViews({ host, sanitise }: WidgetTools): { HTMLView: typeof HTMLView; HTMLMathView: typeof HTMLMathView } {
  class CleanHTMLView extends HTMLView {
    override update(): void {
      this.content.replaceChildren(sanitise(valueOf(this)));
    }
  }
  class CleanHTMLMathView extends HTMLMathView {
    override update(): void {
      this.content.replaceChildren(sanitise(valueOf(this)));
      void typeset(host.config, this.content);
    }
  }
  return { HTMLView: CleanHTMLView, HTMLMathView: CleanHTMLMathView };
}

function valueOf(view: HTMLView | HTMLMathView): string {
  return String(view.model.get("value") ?? "");
}
