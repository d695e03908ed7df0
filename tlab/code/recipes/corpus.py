"""How a program gets its texts, and the pieces of them that the model reads.

Refuses: reading them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlab.code.dialects.dialect import indented
from tlab.code.recipes.pieces import ids_line
from tlab.learning.texts import sample_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlab.code.dialects.dialect import Dialect

__all__ = ["cutting_lines", "listed", "texts_lines"]

_PASSAGE_CHARACTERS = 1200
# tlab.sae.sample_texts, in a program's words.
_GATHERING = (
    "from pydoc_data.topics import topics",
    "",
    "passages = []",
    "for name in sorted(topics):",
    '    passage = ""',
    '    for paragraph in topics[name].split("\\n\\n"):',
    '        passage = f"{passage}\\n\\n{paragraph}" if passage else paragraph',
    f"        if len(passage) > {_PASSAGE_CHARACTERS}:",
    "            passages.append(passage)",
    '            passage = ""',
    "    if passage.strip():",
    "        passages.append(passage)",
)


def texts_lines(name: str, texts: Sequence[str]) -> list[str]:
    """Return a list of texts, one a line; or where they come from, if they are Python's own help topics."""
    passages = sample_texts()
    first = passages.index(texts[0]) if texts and texts[0] in passages else 0
    if len(texts) > 1 and tuple(texts) == passages[first : first + len(texts)]:
        return [*_GATHERING, f"{name} = passages[{first}:{first + len(texts)}]"]
    return listed(name, texts)


def listed(name: str, values: Sequence[object]) -> list[str]:
    """Return a list, one value a line."""
    return [f"{name} = [", *indented([f"{value!r}," for value in values]), "]"]


def cutting_lines(longest: int, texts: Sequence[str], say: Dialect) -> list[str]:
    """Return the function that cuts texts into pieces; texts that may exceed the context are cut as texts first."""
    own = "yield from (piece for piece in ids.split(context, dim=1) if piece.shape[1] > 1)"
    if all(len(text) <= longest for text in texts):
        each = [ids_line("ids", "text", say), own]
        return ["def pieces_of(texts, context):", "    for text in texts:", *indented(each, 2)]
    return [
        "def parts_of(text):",
        f"    while len(text) > {longest}:  # so many characters fit into the model, whatever the language",
        f'        cut = text.rfind(" ", {longest // 2}, {longest})',
        f"        cut = {longest} if cut < 0 else cut",
        "        yield text[:cut]",
        "        text = text[cut:]",
        "    yield text",
        "",
        "def pieces_of(texts, context):",
        "    for text in texts:",
        "        for part in parts_of(text):",
        *indented([ids_line("ids", "part", say), own], 3),
    ]
