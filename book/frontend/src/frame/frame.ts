// Runs inside the isolated frame: shows one piece of foreign HTML with local copies of the libraries it asks for.
// It has no origin, no token and no network.

import type { FromFrame, ToFrame } from "../figures/isolated_frame";
import { startWidget, type FrameModel } from "./anywidget";
import { localCopy, type LibraryName } from "./libraries";
import { nameControls } from "./naming";

interface AmdRequire {
  config(options: { paths?: Record<string, string> }): unknown;
}

declare global {
  interface Window {
    require?: AmdRequire;
    define?: ((name: string, dependencies: string[], factory: () => unknown) => void) | undefined;
    d3?: unknown;
    jQuery?: unknown;
  }
}

function main(): void {
  patchRequire();
  window.addEventListener("message", (event: MessageEvent<ToFrame>) => {
    if (event.source !== window.parent) return;
    switch (event.data?.kind) {
      case "tl-show":
        document.title = event.data.title;
        setScheme(event.data.scheme);
        show(event.data.html);
        break;
      case "tl-scheme":
        setScheme(event.data.scheme);
        break;
      case "tl-widget":
        document.title = event.data.title;
        setScheme(event.data.scheme);
        widget = showWidget(event.data);
        break;
      case "tl-widget-changed": {
        const { changes } = event.data;
        void widget.then((model) => model?.changed(changes));
        break;
      }
      case "tl-widget-custom": {
        const { content, buffers } = event.data;
        void widget.then((model) => model?.trigger("msg:custom", content, buffers));
        break;
      }
    }
  });
  say({ kind: "tl-ready" });
}

/** The widget of this frame, if it shows one. */
let widget: Promise<FrameModel | null> = Promise.resolve(null);

async function showWidget(message: Parameters<typeof startWidget>[0]): Promise<FrameModel | null> {
  const root = document.getElementById("root");
  if (!root) return null;
  const box = root.appendChild(document.createElement("div"));
  watch(root);
  try {
    return await startWidget(message, box, say);
  } catch (error) {
    const words = document.createElement("p");
    words.textContent = `This widget's own code failed: ${error instanceof Error ? error.message : String(error)}`;
    box.replaceChildren(words);
    return null;
  }
}

function show(html: string): void {
  const root = document.getElementById("root");
  if (!root) return;
  const parsed = new DOMParser().parseFromString(html, "text/html");
  root.append(...parsed.head.childNodes, ...parsed.body.childNodes);
  for (const script of root.querySelectorAll("script")) {
    if (isExecutable(script)) execute(script);
  }
  watch(root);
}

/** Keep the page informed of the height, and the controls named. */
function watch(root: HTMLElement): void {
  const settle = (): void => {
    nameControls(root);
    reportHeight(root);
  };
  settle();
  new ResizeObserver(() => reportHeight(root)).observe(root);
  // A frame below the fold gets no resize events, but a print must know its height.
  new MutationObserver(settle).observe(root, { childList: true, subtree: true });
}

/** Scripts made by a parser never run: each is made anew, in order. */
function execute(inert: HTMLScriptElement): void {
  const script = document.createElement("script");
  const type = inert.getAttribute("type");
  if (type) script.type = type;
  const source = inert.getAttribute("src");
  if (source === null) {
    script.textContent = inert.textContent;
    inert.replaceWith(script);
    return;
  }
  const library = localCopy(source);
  inert.remove();
  if (library !== null) runLibrary(library);
}

/** Make a library's global, and its AMD module under the name it is asked for by. Only the copies in this file run. */
function runLibrary(library: LibraryName, moduleName: string = library): void {
  if (library === "require") return;
  const { define } = window;
  const value = (): unknown => (library === "d3" ? window.d3 : window.jQuery);
  if (value() === undefined) {
    // With AMD in sight a library would keep its global to itself.
    window.define = undefined;
    const script = document.createElement("script");
    script.textContent = document.getElementById(`library-${library}`)?.textContent ?? "";
    document.head.append(script);
    window.define = define;
  }
  define?.(moduleName, [], value);
}

/** Whatever address a library is asked from, the local copy answers; other addresses are dropped. */
function patchRequire(): void {
  const amd = window.require;
  if (!amd) return;
  const original = amd.config.bind(amd);
  amd.config = (options) => {
    for (const [name, address] of Object.entries(options.paths ?? {})) {
      const library = localCopy(address) ?? localCopy(name);
      if (library !== null) runLibrary(library, name);
    }
    return original({ ...options, paths: {} });
  };
}

function isExecutable(script: HTMLScriptElement): boolean {
  const type = script.getAttribute("type") ?? "";
  return type === "" || type === "module" || /^(text|application)\/(x-)?(java|ecma)script$/i.test(type);
}

function setScheme(scheme: "light" | "dark"): void {
  document.documentElement.dataset["scheme"] = scheme;
}

function reportHeight(root: HTMLElement): void {
  say({ kind: "tl-height", height: root.getBoundingClientRect().height });
}

function say(message: FromFrame): void {
  window.parent.postMessage(message, "*");
}

main();
