// Owns the mark on the line that failed, in the editor: it goes with the next change of the code.

import { StateEffect, StateField, type Extension } from "@codemirror/state";
import { Decoration, EditorView, type DecorationSet } from "@codemirror/view";

const setLine = StateEffect.define<number | null>();
const mark = Decoration.line({ class: "tl-failed-line", attributes: { title: "this line failed" } });

const field = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(marks, transaction) {
    for (const effect of transaction.effects) {
      if (!effect.is(setLine)) continue;
      const doc = transaction.newDoc;
      const isThere = effect.value !== null && effect.value >= 1 && effect.value <= doc.lines;
      return isThere ? Decoration.set(mark.range(doc.line(effect.value ?? 1).from)) : Decoration.none;
    }
    return transaction.docChanged ? Decoration.none : marks;
  },
  provide: (own) => EditorView.decorations.from(own),
});

export const failedLine: Extension = field;

export function markFailed(view: EditorView, line: number | null): void {
  view.dispatch({ effects: setLine.of(line) });
}
