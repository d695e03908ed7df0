// Owns the single keys of the page. Refuses to act while somebody types, in a dialog, or when they are switched off.

import type { Settings } from "./settings";

export interface Key {
  readonly key: string;
  /** What the help says that it does. */
  readonly does: string;
  readonly act: () => void;
}

const NOT_TYPED_INTO = new Set(["button", "checkbox", "radio", "range", "reset", "submit"]);

export class Keys {
  readonly #keys = new Map<string, Key>();

  constructor(private readonly settings: Settings, signal: AbortSignal) {
    document.addEventListener("keydown", (event) => this.#pressed(event), { signal });
  }

  add(key: Key): void {
    if (this.#keys.has(key.key)) throw new Error(`key taken: expected a free one, got ${key.key}; choose another`);
    this.#keys.set(key.key, key);
  }

  get all(): readonly Key[] {
    return [...this.#keys.values()];
  }

  #pressed(event: KeyboardEvent): void {
    if (event.defaultPrevented || event.isComposing || event.repeat) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = this.#keys.get(event.key);
    if (!key || !this.settings.now.keys || isTypedInto(event.composedPath()[0] ?? event.target) || isDialogOpen()) return;
    event.preventDefault();
    key.act();
  }
}

/** Whether what has the focus takes letters itself: fields, editors, lists that jump to a letter, widgets. */
export function isTypedInto(target: EventTarget | null): boolean {
  if (!(target instanceof Element)) return false;
  if (target instanceof HTMLInputElement) return !NOT_TYPED_INTO.has(target.type);
  const typed = "textarea, select, [contenteditable]:not([contenteditable='false']), .cm-editor, [role='textbox'], [role='combobox'], [role='listbox'], [role='menu'], [role='application']";
  return target.closest(typed) !== null;
}

function isDialogOpen(): boolean {
  return document.querySelector("dialog[open]") !== null;
}
