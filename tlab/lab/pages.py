"""The Lab in text: what it was opened with and what it shows first, for print, for terminals and for screen readers.

Refuses: HTML.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["text_twin"]


def text_twin(state: Mapping[str, Any], opened: Mapping[str, Any]) -> str:
    """Return the first view as text: model, prompt, what comes next at each position, what was chosen, in words."""
    facts = opened["facts"]
    chosen = [f"mode {state['mode']}"] + ([f"part {state['part']}"] if state["part"] else [])
    lines = [
        f"The Lab: {facts['name']} ({facts['n_layers']} layers of {facts['n_heads']} heads), {', '.join(chosen)}",
        opened["explain"],
        "",
        *_table(opened),
    ]
    experiments = [f"Experiment: {one['question']['ask']} {one['name']}" for one in state["history"]]
    return "\n".join([*lines, *([""] if experiments else []), *experiments])


def _table(opened: Mapping[str, Any]) -> list[str]:
    rows = [("pos", "token", "next", "p")]
    for pos, (token, guesses) in enumerate(zip(opened["tokens"], opened["next"], strict=True)):
        rows.append((str(pos), repr(token["text"]), repr(guesses[0]["token"]), f"{guesses[0]['p']:.3f}"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(word.rjust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]
