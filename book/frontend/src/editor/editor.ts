// The lazy part that a page loads when a cell is edited for the first time: CodeMirror, kept small.

import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { python } from "@codemirror/lang-python";
import { bracketMatching, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { EditorState } from "@codemirror/state";
import { drawSelection, EditorView, keymap } from "@codemirror/view";
import { classHighlighter } from "@lezer/highlight";
import { offerPart } from "../parts";
import { assistance } from "./assistance";
import type { EditorOptions, MountedEditor } from "./contract";
import { failedLine, markFailed } from "./failed_line";

/** Escape, then Tab, leaves the editor: CodeMirror itself gives Tab back for two seconds after Escape. */
const WAY_OUT = "Shift-Enter runs the cell. To leave the editor press Escape, then Tab.";
const HELP = "Tab behind a name completes it, Shift-Tab says what it is.";

function mount(options: EditorOptions): MountedEditor {
  const run = (): boolean => (options.onRun(), true);
  const description = options.assistant ? `${HELP} ${WAY_OUT}` : WAY_OUT;
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
      failedLine,
      EditorView.contentAttributes.of({ "aria-label": options.label, "aria-description": description, spellcheck: "false", tabindex: "0" }),
      EditorView.updateListener.of((update) => {
        if (update.docChanged) options.onChange(update.state.doc.toString());
      }),
      ...(options.assistant ? [assistance(options.assistant)] : []),
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
  return {
    code: () => view.state.doc.toString(),
    focus: () => view.focus(),
    mark: (line) => markFailed(view, line),
    goTo: (line) => goTo(view, line),
    destroy: () => view.destroy(),
  };
}

function goTo(view: EditorView, line: number): void {
  const { doc } = view.state;
  view.dispatch({ selection: { anchor: doc.line(Math.min(Math.max(line, 1), doc.lines)).to }, scrollIntoView: true });
  view.focus();
}

offerPart("editor", { mount });
