// Owns the words between the page and an anywidget in its frame. Pure; the frame's word is data, checked here.

export type Values = Readonly<Record<string, unknown>>;

export type ToWidget =
  | { readonly kind: "tl-widget"; readonly esm: string; readonly css: string; readonly state: Values; readonly title: string; readonly scheme: "light" | "dark" }
  | { readonly kind: "tl-widget-changed"; readonly changes: Values }
  | { readonly kind: "tl-widget-custom"; readonly content: unknown; readonly buffers: readonly unknown[] };

export type FromWidget =
  | { readonly kind: "tl-widget-set"; readonly changes: Values }
  | { readonly kind: "tl-widget-send"; readonly content: unknown; readonly buffers: readonly ArrayBuffer[] };

/** The parts of a model's state that are the widget's own; code, layout and the ids of other widgets stay in the page. */
export function ownValues(state: Values): Values {
  const entries = Object.entries(state).filter(([name, value]) => isOwn(name) && isPlain(value));
  return Object.fromEntries(entries);
}

/** What the frame asks for, as far as it may: values that the model has, under names that are its own. */
export function parseFromWidget(data: unknown, known: Values): FromWidget | null {
  if (typeof data !== "object" || data === null) return null;
  const { kind, changes, content, buffers } = data as Record<string, unknown>;
  if (kind === "tl-widget-set" && typeof changes === "object" && changes !== null) {
    const allowed = Object.entries(changes).filter(([name, value]) => isOwn(name) && Object.hasOwn(known, name) && isPlain(value));
    return allowed.length === 0 ? null : { kind, changes: Object.fromEntries(allowed) };
  }
  if (kind !== "tl-widget-send" || !isPlain(content)) return null;
  const bytes = Array.isArray(buffers) ? buffers.filter((buffer) => buffer instanceof ArrayBuffer) : [];
  return { kind, content, buffers: bytes };
}

const KEPT_IN_PAGE = new Set(["layout", "style", "tabbable", "tooltip", "comm", "keys"]);

function isOwn(name: string): boolean {
  return !name.startsWith("_") && !KEPT_IN_PAGE.has(name);
}

/** Numbers, texts, lists, objects and bytes: nothing that refers to another widget. */
function isPlain(value: unknown, depth = 0): boolean {
  if (depth > 20) return false;
  switch (typeof value) {
    case "string":
      return !value.startsWith("IPY_MODEL_");
    case "number":
    case "boolean":
    case "undefined":
      return true;
    case "object":
      break;
    default:
      return false;
  }
  if (value === null || value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return true;
  const proto: unknown = Object.getPrototypeOf(value);
  const isData = Array.isArray(value) || proto === null || proto === Object.prototype;
  return isData && Object.values(value).every((inner) => isPlain(inner, depth + 1));
}
