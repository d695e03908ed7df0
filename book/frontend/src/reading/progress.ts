// Owns how far one has read: a quiet line while scrolling, and marks that a reader sets. No page is marked by itself.

import { el } from "../dom";
import type { PageConfig } from "../page_config";
import { siteUrl } from "../page_config";
import type { Settings } from "./settings";

const CONTENTS = ".bd-sidebar-primary .bd-toc-item a.reference.internal";
const LESSONS = "lessons/";
/** Pages that one looks things up in are never "read". */
const READ_THROUGH = /^(lessons|kb\/documents)\//;

export class Progress {
  readonly #button = el("button", { type: "button", class: "tl-button tl-read-button" });
  readonly #words = el("span", { class: "tl-read-words", role: "status" });

  constructor(private readonly config: PageConfig, private readonly settings: Settings, signal: AbortSignal) {
    drawLine(signal);
    this.#markContents();
    const article = document.querySelector("article.bd-article");
    if (!article || !READ_THROUGH.test(config.page)) return;
    this.#button.addEventListener("click", () => this.#toggle(), { signal });
    article.append(el("div", { class: "tl-read" }, this.#button, this.#words));
    this.#show();
  }

  #toggle(): void {
    const others = this.settings.now.read.filter((page) => page !== this.config.page);
    this.settings.change({ read: this.#isRead ? others : [...others, this.config.page] });
    this.#show();
    this.#markContents();
    this.#words.textContent = this.#count();
  }

  get #isRead(): boolean {
    return this.settings.now.read.includes(this.config.page);
  }

  #show(): void {
    this.#button.setAttribute("aria-pressed", String(this.#isRead));
    this.#button.textContent = this.#isRead ? "✓ Read" : "Mark this page as read";
  }

  #markContents(): void {
    for (const link of document.querySelectorAll<HTMLAnchorElement>(CONTENTS)) {
      link.querySelector(".tl-read-mark")?.remove();
      if (!this.settings.now.read.includes(pageOf(link.href, siteUrl(this.config, "")))) continue;
      link.append(el("span", { class: "tl-read-mark" }, el("span", { "aria-hidden": "true" }, " ✓"), el("span", { class: "tl-hidden" }, " (read)")));
    }
  }

  #count(): string {
    const root = siteUrl(this.config, "");
    const links = [...document.querySelectorAll<HTMLAnchorElement>(CONTENTS)];
    const lessons = new Set(links.map((link) => pageOf(link.href, root)).filter((page) => page.startsWith(LESSONS)));
    const done = [...lessons].filter((page) => this.settings.now.read.includes(page)).length;
    return `${done} of ${lessons.size} lessons read. The mark stays in this browser.`;
  }
}

/** The document name behind an address below the site's root, or nothing for any other. */
export function pageOf(href: string, root: string): string {
  if (!href.startsWith(root)) return "";
  return href.slice(root.length).replace(/[#?].*$/, "").replace(/\.html$/, "");
}

function drawLine(signal: AbortSignal): void {
  const line = el("div", { class: "tl-progress", "aria-hidden": "true" });
  document.body.append(line);
  let isDue = false;
  const draw = (): void => {
    isDue = false;
    const long = document.documentElement.scrollHeight - window.innerHeight;
    line.style.transform = `scaleX(${long > 0 ? Math.min(1, window.scrollY / long) : 0})`;
  };
  const onScroll = (): void => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(draw);
  };
  window.addEventListener("scroll", onScroll, { signal, passive: true });
}
