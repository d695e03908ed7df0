// Owns accessible names for the parts of widgets that ipywidgets leaves nameless. Words come from the widget itself.

const NAMELESS = ".noUi-handle, .widget-readout, input, select, textarea, button";

/** Name what is there and what comes later. */
export function keepNamed(root: HTMLElement, signal: AbortSignal): void {
  nameParts(root);
  const observer = new MutationObserver(() => nameParts(root));
  observer.observe(root, { childList: true, subtree: true, characterData: true });
  signal.addEventListener("abort", () => observer.disconnect());
}

export function nameParts(root: ParentNode): void {
  for (const part of root.querySelectorAll<HTMLElement>(NAMELESS)) {
    if (part.closest("iframe")) continue;
    const name = nameOf(part);
    if (name !== null && part.getAttribute("aria-label") !== name) part.setAttribute("aria-label", name);
    if (part.matches(".widget-readout[contenteditable=true]")) part.setAttribute("role", "textbox");
  }
  for (const bar of root.querySelectorAll(".widget-hprogress [role=progressbar], .progress")) {
    if (!bar.hasAttribute("aria-label")) bar.setAttribute("aria-label", describedBy(bar) || "Progress");
  }
}

function nameOf(part: HTMLElement): string | null {
  const words = describedBy(part);
  if (part.matches(".noUi-handle")) return sliderName(part, words || "Slider");
  if (part.matches(".widget-readout")) return `${words || "Slider"}, value`;
  if (part.matches("button")) return (part.textContent ?? "").trim() === "" && !part.hasAttribute("aria-label") ? part.title || "Button" : null;
  const labels = (part as HTMLInputElement).labels;
  const isLabelled = [...(labels ?? [])].some((label) => (label.textContent ?? "").trim().replace(/\u200b/g, "") !== "");
  return isLabelled || part.hasAttribute("aria-label") ? null : words || part.title || (part as HTMLInputElement).placeholder?.replace(/\u200b/g, "") || "Value";
}

function sliderName(handle: Element, words: string): string {
  const handles = [...(handle.closest(".noUi-base")?.querySelectorAll(".noUi-handle") ?? [handle])];
  if (handles.length < 2) return words;
  return `${words}, ${handles.indexOf(handle) === 0 ? "lower" : "upper"} end`;
}

/** The description beside the part, as ipywidgets lays it out. */
function describedBy(part: Element): string {
  const label = part.closest(".jupyter-widgets")?.querySelector(":scope > label.widget-label");
  return (label?.textContent ?? "").trim();
}
