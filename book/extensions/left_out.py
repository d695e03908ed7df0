"""Code that a page leaves out (`remove-input`, `remove-cell`): carried as inert data, so that a download has all of it.

Refuses: showing or running it.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from myst_nb.core.read import is_myst_markdown_notebook, read_myst_markdown_notebook

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

__all__ = ["carry", "setup"]

# MyST-NB takes either form.
_TAGS = frozenset({"remove-input", "remove_input", "remove-cell", "remove_cell"})


def carry(page: nodes.document, text: str) -> None:
    """Put the code that MyST-NB left out of `page` where it stands in `text`, among the other cells.

    A cell whose output is shown carries its own code; a cell that is gone stands before the next one that is not.
    """
    if not any(tag in text for tag in _TAGS) or not is_myst_markdown_notebook(text):
        return
    cells = read_myst_markdown_notebook(text).cells
    shown = {
        found["cell_index"]: found
        for found in page.findall(nodes.container)
        if found.get("nb_element") == "cell_code" and found.parent is not None
    }
    for index, cell in enumerate(cells):
        tags = cell.metadata.get("tags", [])
        if cell.cell_type != "code" or not _TAGS.intersection(tags):
            continue
        data = nodes.raw("", _inert(cell.source, tags), format="html")
        later = min((number for number in shown if number > index), default=None)
        if index in shown:
            shown[index].append(data)
        elif later is not None:
            parent = shown[later].parent
            parent.insert(parent.index(shown[later]), data)
        else:
            # Behind everything, which is inside the last section.
            (list(page.findall(nodes.section)) or [page])[-1].append(data)


def _inert(code: str, tags: list[str]) -> str:
    # As JSON, in which any "<" may be an escape: "</script" and "<!--" would mean something here.
    data = json.dumps(code, ensure_ascii=False).replace("<", "\\u003c")
    return f'<script type="application/json" class="tl-left-out" data-tags="{escape(" ".join(tags))}">{data}</script>'


def _read(app: Sphinx, page: nodes.document) -> None:
    source = Path(app.env.doc2path(app.env.docname))
    if source.suffix == ".md":
        carry(page, source.read_text(encoding="utf-8"))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Carry the code once a page is read."""
    app.connect("doctree-read", _read)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
