// Owns the page's side of isolated HTML: the sandboxed frame, and the few words it may say. The frame's word is data.

import { el } from "../dom";
import { siteUrl, type PageConfig } from "../page_config";
import type { FromWidget, ToWidget } from "../widgets/bridge";
import { onThemeChange, scheme } from "./theme";

/** What the page and the frame say to each other. */
export type ToFrame =
  | { readonly kind: "tl-show"; readonly html: string; readonly title: string; readonly scheme: "light" | "dark" }
  | { readonly kind: "tl-scheme"; readonly scheme: "light" | "dark" }
  | ToWidget;
type Own = { readonly kind: "tl-ready" } | { readonly kind: "tl-height"; readonly height: number };
export type FromFrame = Own | FromWidget;

export interface Frame {
  send(message: ToFrame): void;
}

/** A frame can ask for room, but not for the whole page. */
export const MAX_HEIGHT_PX = 6000;

export function drawFrame(config: PageConfig, target: HTMLElement, html: string, title: string, signal: AbortSignal): void {
  openFrame(config, target, title, () => ({ kind: "tl-show", html, title, scheme: scheme() }), () => undefined, signal);
}

/** Open a frame in `target` and tell it `first` what to show; what it says beyond its height is handed on unread. */
export function openFrame(
  config: PageConfig,
  target: HTMLElement,
  title: string,
  first: () => ToFrame,
  hear: (data: unknown) => void,
  signal: AbortSignal,
): Frame {
  const frame = el("iframe", { sandbox: "allow-scripts", src: siteUrl(config, "_static/frame.html"), title, class: "tl-isolated" });
  let isShown = false;
  const send = (message: ToFrame): void => frame.contentWindow?.postMessage(message, "*");
  const listen = (event: MessageEvent): void => {
    if (event.source !== frame.contentWindow) return;
    const message = parseFromFrame(event.data);
    if (message === null) return hear(event.data);
    if (message.kind === "tl-height") frame.style.height = `${message.height}px`;
    // Only once: a script in the frame could reload it and ask again.
    if (message.kind !== "tl-ready" || isShown) return;
    isShown = true;
    send(first());
  };
  window.addEventListener("message", listen, { signal });
  onThemeChange(() => send({ kind: "tl-scheme", scheme: scheme() }), signal);
  target.replaceChildren(frame);
  return { send };
}

export function parseFromFrame(data: unknown): Own | null {
  if (typeof data !== "object" || data === null) return null;
  const { kind, height } = data as Record<string, unknown>;
  if (kind === "tl-ready") return { kind };
  if (kind !== "tl-height" || typeof height !== "number" || !Number.isFinite(height)) return null;
  return { kind, height: Math.min(Math.max(Math.ceil(height), 20), MAX_HEIGHT_PX) };
}
