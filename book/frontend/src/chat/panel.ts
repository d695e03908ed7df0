// Owns the chat dialog: question, conversation, focus. Refuses to cover the page's own keyboard: it is not modal.

import { notice } from "../cells/notice";
import { el, icon } from "../dom";
import type { ChatPanel, Host } from "../parts";
import { problemFrom } from "../server_error";
import { parseChatEvent } from "./messages";
import { readEvents } from "./sse";
import { advance, historyOf, keep, kept, newTurn, type Turn } from "./turns";
import { TurnView } from "./turn_view";

const MAX_QUESTION = 1000;

const NEEDS_SERVER = {
  message: "The chat needs the served book.",
  hint: "Start it on your own machine with `python3 noxfile.py serve` and open the address it prints.",
};

export class Panel implements ChatPanel {
  readonly #log = el("div", { class: "tl-chat-log", role: "log", "aria-label": "Conversation", tabindex: "0" });
  readonly #question = el("textarea", {
    id: "tl-chat-question",
    rows: "2",
    maxlength: String(MAX_QUESTION),
    placeholder: "What does attention do?",
  });
  readonly #send = el("button", { type: "submit", class: "tl-button tl-primary" }, "Ask");
  readonly #stop = el("button", { type: "button", class: "tl-button" }, icon("stop"), "Stop");
  readonly #dialog: HTMLElement;
  #turns: Turn[] = kept();
  #asking: AbortController | null = null;

  constructor(private readonly host: Host, private readonly onClose: () => void) {
    const close = el("button", { type: "button", class: "tl-button tl-chat-close", "aria-label": "Close the chat" }, icon("close"));
    close.addEventListener("click", () => this.close());
    this.#stop.hidden = true;
    this.#stop.addEventListener("click", () => this.#asking?.abort());
    this.#dialog = el(
      "div",
      { class: "tl-chat", role: "dialog", "aria-labelledby": "tl-chat-title", hidden: true },
      el("div", { class: "tl-chat-head" }, el("h2", { id: "tl-chat-title" }, "Ask the book"), close),
      this.#log,
      host.config.chat ? this.#form() : notice(NEEDS_SERVER),
    );
    this.#dialog.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
    this.#greet();
    document.body.append(this.#dialog);
  }

  open(question?: string): void {
    this.#dialog.hidden = false;
    if (question !== undefined) this.#question.value = question.slice(0, MAX_QUESTION);
    const target = this.host.config.chat ? this.#question : this.#dialog.querySelector<HTMLElement>(".tl-chat-close");
    target?.focus();
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  close(): void {
    this.#dialog.hidden = true;
    this.onClose();
  }

  #greet(): void {
    if (!this.host.config.chat) return;
    const words = "Answers come from this book, with links to the passages they rest on.";
    this.#log.append(el("p", { class: "tl-chat-hint" }, words));
    for (const turn of this.#turns) this.#log.append(new TurnView(this.host.config.root, turn).element);
  }

  #form(): HTMLElement {
    const form = el(
      "form",
      { class: "tl-chat-form" },
      el("label", { for: "tl-chat-question", class: "tl-hidden" }, "Your question"),
      this.#question,
      el("div", { class: "tl-chat-actions" }, this.#stop, this.#send),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#ask(this.#question.value.trim());
    });
    this.#question.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    });
    return form;
  }

  async #ask(question: string): Promise<void> {
    if (question === "" || this.#asking) return;
    this.#question.value = "";
    const history = historyOf(this.#turns);
    const asking = new AbortController();
    let turn = newTurn(question);
    const view = new TurnView(this.host.config.root, turn);
    const show = (next: Turn): void => {
      turn = next;
      const follows = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 40;
      view.show(turn);
      if (follows) this.#log.scrollTop = this.#log.scrollHeight;
    };
    this.#log.append(view.element);
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#begin(asking);
    try {
      for await (const event of this.#events(question, history, asking.signal)) show(advance(turn, event));
      if (turn.end.kind === "open") show({ ...turn, end: { kind: "failed", problem: CUT_SHORT } });
    } catch (error) {
      const stopped: Turn = { ...turn, end: { kind: "stopped" } };
      show(asking.signal.aborted ? stopped : { ...turn, end: { kind: "failed", problem: problemFrom(error) } });
    } finally {
      this.#end(turn);
    }
  }

  async *#events(question: string, history: unknown, signal: AbortSignal) {
    const body = JSON.stringify({ question, page: this.host.config.page, history });
    const response = await this.host.reader.fetch("api/chat", { method: "POST", body, signal });
    for await (const raw of readEvents(response)) {
      const event = parseChatEvent(raw);
      if (event) yield event;
    }
  }

  #begin(asking: AbortController): void {
    this.#asking = asking;
    this.#stop.hidden = false;
    this.#send.disabled = true;
    this.#log.setAttribute("aria-busy", "true");
  }

  #end(turn: Turn): void {
    const hadFocus = document.activeElement === this.#stop;
    this.#turns = [...this.#turns, turn];
    keep(this.#turns);
    this.#asking = null;
    this.#stop.hidden = true;
    this.#send.disabled = false;
    this.#log.removeAttribute("aria-busy");
    if (hadFocus) this.#question.focus();
  }
}

const CUT_SHORT = {
  code: "cut-short",
  message: "The answer broke off.",
  hint: "Ask again; if it stays so, look at the server's log.",
  status: 0,
};
