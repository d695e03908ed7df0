// The lazy part that a page loads when a cell is edited for the first time: CodeMirror, kept small.

import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { python } from "@codemirror/lang-python";
import { bracketMatching, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { EditorState } from "@codemirror/state";
import { drawSelection, EditorView, keymap } from "@codemirror/view";
import { classHighlighter } from "@lezer/highlight";
import { offerPart } from "../parts";
import type { EditorOptions, MountedEditor } from "./contract";

/** Escape, then Tab, leaves the editor: CodeMirror itself gives Tab back for two seconds after Escape. */
const WAY_OUT = "Shift-Enter runs the cell. To leave the editor press Escape, then Tab.";

function mount(options: EditorOptions): MountedEditor {
  const run = (): boolean => (options.onRun(), true);
  const state = EditorState.create({
    doc: options.code,
    extensions: [
      history(),
      drawSelection(),
      indentOnInput(),
      indentUnit.of("    "),
      bracketMatching(),
      python(),
      syntaxHighlighting(classHighlighter),
      EditorView.contentAttributes.of({ "aria-label": options.label, "aria-description": WAY_OUT, spellcheck: "false" }),
      keymap.of([
        { key: "Shift-Enter", run },
        { key: "Mod-Enter", run },
        ...defaultKeymap,
        ...historyKeymap,
        indentWithTab,
      ]),
    ],
  });
  const view = new EditorView({ state, parent: options.parent });
  const caret = options.at ? view.posAtCoords(options.at) : null;
  view.dispatch({ selection: { anchor: caret ?? state.doc.length } });
  return { code: () => view.state.doc.toString(), focus: () => view.focus(), destroy: () => view.destroy() };
}

offerPart("editor", { mount });
