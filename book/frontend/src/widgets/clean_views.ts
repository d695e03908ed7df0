// Owns the widgets that hold HTML or addresses. ipywidgets pastes HTML into the page as it is; here it is cleaned first.
// Refuses media from other servers, which from file:// no policy would stop.

import { AudioView, HTMLMathView, HTMLView, ImageView, VideoView } from "@jupyter-widgets/controls";
import { typeset } from "../figures/maths";
import type { WidgetTools } from "./contract";

/** Views for `HTML` and `HTMLMath` under the names by which their models ask for them. */
export function cleanViews({ host, sanitise }: WidgetTools): Readonly<Record<string, unknown>> {
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
  class LocalImageView extends ImageView {
    override update(): void {
      if (isLocal(this)) super.update();
      if (!this.el.alt) this.el.alt = String(this.model.get("tooltip") || "Picture");
    }
  }
  class LocalAudioView extends AudioView {
    override update(): void {
      if (isLocal(this)) super.update();
    }
  }
  class LocalVideoView extends VideoView {
    override update(): void {
      if (isLocal(this)) super.update();
    }
  }
  return { HTMLView: CleanHTMLView, HTMLMathView: CleanHTMLMathView, ImageView: LocalImageView, AudioView: LocalAudioView, VideoView: LocalVideoView };
}

/** Whether a picture, a sound or a film brings its bytes along. */
function isLocal(view: ImageView | AudioView | VideoView): boolean {
  return view.model.get("format") !== "url";
}

function valueOf(view: HTMLView | HTMLMathView): string {
  return String(view.model.get("value") ?? "");
}
