// Owns completion by Tab and inspection by Shift-Tab. What the kernel says is untrusted and becomes text nodes only.

import { acceptCompletion, autocompletion, startCompletion, type CompletionContext, type CompletionResult } from "@codemirror/autocomplete";
import { StateEffect, StateField, type Extension } from "@codemirror/state";
import { EditorView, keymap, showTooltip, type Command, type Tooltip } from "@codemirror/view";
import { el } from "../dom";
import { withoutColours } from "../live/place";
import type { Assistant } from "./contract";

const MAX_CHARS = 4000;
/** So much of an inspection is read out. */
const SPOKEN_CHARS = 300;

const setTip = StateEffect.define<Tooltip | null>();
const tip = StateField.define<Tooltip | null>({
  create: () => null,
  update(shown, transaction) {
    for (const effect of transaction.effects) if (effect.is(setTip)) return effect.value;
    return transaction.docChanged || transaction.selection ? null : shown;
  },
  provide: (own) => showTooltip.from(own),
});

export function assistance(assistant: Assistant): Extension {
  const complete: Command = (view) => acceptCompletion(view) || (isAfterName(view) && startCompletion(view));
  const inspect: Command = (view) => {
    if (!isAfterName(view, /[\w(]/)) return false;
    void show(view, assistant);
    return true;
  };
  const close: Command = (view) => {
    if (view.state.field(tip) === null) return false;
    view.dispatch({ effects: setTip.of(null) });
    return true;
  };
  return [
    tip,
    autocompletion({ override: [(context) => ask(context, assistant)], activateOnTyping: false, icons: false }),
    keymap.of([
      { key: "Tab", run: complete },
      { key: "Shift-Tab", run: inspect },
      { key: "Escape", run: close },
    ]),
  ];
}

async function ask(context: CompletionContext, assistant: Assistant): Promise<CompletionResult | null> {
  const found = await assistant.complete(context.state.doc.toString(), context.pos);
  if (!found || context.aborted || found.names.length === 0) return null;
  const options = found.names.map(({ text, kind }) => ({ label: text, ...(kind ? { detail: kind } : {}) }));
  // Names such as `model.config` stand whole in the answer; the part before the last dot is matched too.
  return { from: found.from, to: found.to, options, validFor: /^[\w.]*$/ };
}

async function show(view: EditorView, assistant: Assistant): Promise<void> {
  const { state } = view;
  const at = state.selection.main.head;
  const text = withoutColours(await assistant.inspect(state.doc.toString(), at)).trim();
  // The reader may have written on, or left, meanwhile.
  if (view.state.doc !== state.doc || view.state.selection.main.head !== at || !view.hasFocus) return;
  const words = text === "" ? "The kernel knows nothing about this name. Has the cell that makes it run?" : text;
  const shown = words.length > MAX_CHARS ? `${words.slice(0, MAX_CHARS)}…` : words;
  const create = () => ({ dom: el("pre", { class: "tl-inspection", role: "tooltip" }, shown) });
  view.dispatch({ effects: [setTip.of({ pos: at, above: false, create }), EditorView.announce.of(words.slice(0, SPOKEN_CHARS))] });
}

/** Whether the caret stands behind a name, so that Tab means more than a step to the right. */
function isAfterName(view: EditorView, last = /[\w.]/): boolean {
  const { main } = view.state.selection;
  return main.empty && main.head > 0 && last.test(view.state.sliceDoc(main.head - 1, main.head));
}
