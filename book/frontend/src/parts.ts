// Owns loading the lazy scripts and what they promise each other. Refuses modules and fetch: it must work from file://.

import type { CellOutputs, LiveKernel, KernelEvents, MimeBundle } from "./live/contract";
import type { EditorOptions, MountedEditor } from "./editor/contract";
import type { FormulasPart } from "./formulas/contract";
import type { LabPart } from "./lab/part";
import type { WidgetModel } from "./lab/sources/live";
import type { CellNames } from "./names/contract";
import type { PageConfig } from "./page_config";
import { siteUrl } from "./page_config";
import type { Key } from "./reading/keys";
import type { Settings } from "./reading/settings";
import type { Reader } from "./reader";
import { Unreachable } from "./server_error";
import type { WidgetsPart } from "./widgets/contract";

/** What the page lends to its lazy parts, so that no part carries a second copy. */
export interface Host {
  readonly config: PageConfig;
  readonly reader: Reader;
  /** Draw a plotly figure into `target`. */
  drawFigure(target: HTMLElement, figure: unknown, signal: AbortSignal): Promise<void>;
  /** Show HTML that brings scripts, isolated from the page. */
  drawFrame(target: HTMLElement, html: string, title: string, signal: AbortSignal): void;
  /** Open the chat with a question that the reader may still change; null where there is no chat. */
  readonly ask: ((question: string) => void) | null;
  /** Start the page's kernel and in it a Lab; null where the page has none. `onLost` hears that the kernel is gone. */
  readonly startLab: ((onLost: (reason: string) => void) => Promise<WidgetModel>) | null;
}

export interface LivePart {
  /** @param kept the kernel to take up if it is still there. */
  openKernel(host: Host, events: KernelEvents, kept: string | null): Promise<LiveKernel>;
  openOutputs(host: Host, container: HTMLElement, signal: AbortSignal): CellOutputs;
  /** Make a Lab in the kernel, and lend its widget's model. */
  openLab(kernel: LiveKernel, onLost: (reason: string) => void): Promise<WidgetModel>;
  /** Draw an output that was stored in the page, in place of `slot`'s content. */
  showStored(host: Host, slot: HTMLElement, bundle: MimeBundle, signal: AbortSignal): Promise<void>;
}

export interface EditorPart {
  mount(options: EditorOptions): MountedEditor;
}

export interface NamesPart {
  namesOf(code: string): CellNames;
}

export interface ChatPanel {
  open(question?: string): void;
  close(): void;
}

export interface ChatPart {
  create(host: Host, onClose: () => void): ChatPanel;
}

export interface FinderPart {
  /** @param typed what the reader typed while this part was loading. */
  openSearch(host: Host, typed: string, signal: AbortSignal): void;
  openGlossary(host: Host, typed: string, signal: AbortSignal): void;
  openHelp(settings: Settings, keys: readonly Key[], signal: AbortSignal): void;
  showSearchPage(host: Host, place: HTMLElement, signal: AbortSignal): void;
}

interface Parts {
  live: LivePart;
  editor: EditorPart;
  names: NamesPart;
  chat: ChatPart;
  widgets: WidgetsPart;
  finder: FinderPart;
  formulas: FormulasPart;
  lab: LabPart;
}

declare global {
  interface Window {
    tlParts?: Partial<Parts>;
  }
}

/** Called by a lazy script when it has run. */
export function offerPart<K extends keyof Parts>(name: K, part: Parts[K]): void {
  (window.tlParts ??= {})[name] = part;
}

/** Load a lazy part of the page once. */
export async function loadPart<K extends keyof Parts>(config: PageConfig, name: K): Promise<Parts[K]> {
  if (window.tlParts?.[name] === undefined) await loadScript(siteUrl(config, `_static/${name}.js`));
  const part = window.tlParts?.[name];
  if (part === undefined) throw new Error(`${name}.js: expected a part named ${name}, got none; rebuild the front end`);
  return part as Parts[K];
}

const scripts = new Map<string, Promise<void>>();

/** Add a classic script to the page once; a failed load may be tried again. */
export function loadScript(url: string): Promise<void> {
  const known = scripts.get(url);
  if (known) return known;
  const loading = new Promise<void>((resolve, reject) => {
    const script = document.createElement("script");
    script.src = url;
    script.onload = () => resolve();
    script.onerror = () => {
      scripts.delete(url);
      script.remove();
      reject(new Unreachable(`${url} did not load; is the book's server still running?`));
    };
    document.head.append(script);
  });
  scripts.set(url, loading);
  return loading;
}

const styles = new Map<string, Promise<void>>();

/** Add a style sheet to the page once; one that fails costs only its look. */
export function loadStyle(url: string): Promise<void> {
  const known = styles.get(url);
  if (known) return known;
  const loading = new Promise<void>((resolve) => {
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = url;
    link.onload = () => resolve();
    link.onerror = () => resolve();
    document.head.append(link);
  });
  styles.set(url, loading);
  return loading;
}
