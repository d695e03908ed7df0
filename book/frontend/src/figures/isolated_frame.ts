// Owns the page's side of isolated HTML: the sandboxed frame, and the few words it may say. The frame's word is data.

import { el } from "../dom";
import { siteUrl, type PageConfig } from "../page_config";
import { onThemeChange, scheme } from "./theme";

/** What the page and the frame say to each other. */
export type ToFrame =
  | { readonly kind: "tl-show"; readonly html: string; readonly title: string; readonly scheme: "light" | "dark" }
  | { readonly kind: "tl-scheme"; readonly scheme: "light" | "dark" };
export type FromFrame = { readonly kind: "tl-ready" } | { readonly kind: "tl-height"; readonly height: number };

/** A frame can ask for room, but not for the whole page. */
export const MAX_HEIGHT_PX = 6000;

export function drawFrame(config: PageConfig, target: HTMLElement, html: string, title: string, signal: AbortSignal): void {
  const frame = el("iframe", { sandbox: "allow-scripts", src: siteUrl(config, "_static/frame.html"), title, class: "tl-isolated" });
  let isShown = false;
  const send = (message: ToFrame): void => frame.contentWindow?.postMessage(message, "*");
  const listen = (event: MessageEvent): void => {
    if (event.source !== frame.contentWindow) return;
    const message = parseFromFrame(event.data);
    if (message?.kind === "tl-height") frame.style.height = `${message.height}px`;
    // Only once: a script in the frame could reload it and ask again.
    if (message?.kind !== "tl-ready" || isShown) return;
    isShown = true;
    send({ kind: "tl-show", html, title, scheme: scheme() });
  };
  window.addEventListener("message", listen, { signal });
  onThemeChange(() => send({ kind: "tl-scheme", scheme: scheme() }), signal);
  target.replaceChildren(frame);
}

export function parseFromFrame(data: unknown): FromFrame | null {
  if (typeof data !== "object" || data === null) return null;
  const { kind, height } = data as Record<string, unknown>;
  if (kind === "tl-ready") return { kind };
  if (kind !== "tl-height" || typeof height !== "number" || !Number.isFinite(height)) return null;
  return { kind, height: Math.min(Math.max(Math.ceil(height), 20), MAX_HEIGHT_PX) };
}
