// Owns the button that opens the chat. The panel itself loads with the first press.

import { el, icon } from "../dom";
import { loadPart, type ChatPanel, type Host } from "../parts";

export class ChatButton {
  readonly #button = el(
    "button",
    { type: "button", class: "tl-chat-button", "aria-expanded": "false", "aria-haspopup": "dialog" },
    icon("chat"),
    el("span", { class: "tl-chat-button-words" }, "Ask the book"),
  );
  #panel: Promise<ChatPanel> | null = null;

  constructor(private readonly host: Host, signal: AbortSignal) {
    this.#button.addEventListener("click", () => void this.#open(), { signal });
    document.body.append(this.#button);
    this.#stepAside(signal);
  }

  /** Open the chat with a question that the reader may still change. */
  ask(question: string): void {
    void this.#open(question);
  }

  async #open(question?: string): Promise<void> {
    this.#panel ??= loadPart(this.host.config, "chat").then((part) => part.create(this.host, () => this.#closed()));
    try {
      (await this.#panel).open(question);
      this.#button.setAttribute("aria-expanded", "true");
      this.#button.hidden = true;
    } catch {
      this.#panel = null;
      this.#button.title = "The chat did not load; is the book's server still running?";
    }
  }

  #closed(): void {
    this.#button.hidden = false;
    this.#button.setAttribute("aria-expanded", "false");
    this.#button.focus();
  }

  /** On a narrow screen the button leaves while one reads on, and comes back on the way up. */
  #stepAside(signal: AbortSignal): void {
    // Asked at the start, the place would cost a layout of the whole page.
    let last = 0;
    const onScroll = (): void => {
      const now = window.scrollY;
      if (Math.abs(now - last) < 8) return;
      this.#button.classList.toggle("tl-aside", now > last && now > 80);
      last = now;
    };
    window.addEventListener("scroll", onScroll, { signal, passive: true });
  }
}
