"""Repairs in finished pages what others write against WCAG: names that hide a fold's own words, lists that are none.

Each repair names who writes it so; when they stop, it can go. The test of accessibility judges the pages.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

__all__ = ["repaired", "setup"]

# MyST-NB 1.4 names every folded cell alike, whatever its summary says.
_HIDING_NAME = re.compile(r'<summary aria-label="Toggle hidden content">')
# Sphinx 9.0 sets a long signature's parameters as a list of descriptions inside the term that they belong to.
_SIGNATURE = re.compile(r'<dt class="sig .*?</dt>', re.DOTALL)
_PARTS = (
    (re.compile(r"<dl>"), '<span class="tl-parameters">'),
    (re.compile(r"<dd>"), '<span class="tl-parameter">'),
    (re.compile(r"</d[dl]>"), "</span>"),
)


def repaired(body: str) -> str:
    """Return a page's text with every repair."""
    return _SIGNATURE.sub(_without_list, _HIDING_NAME.sub("<summary>", body))


def _without_list(signature: re.Match[str]) -> str:
    text = signature[0]
    for pattern, replacement in _PARTS:
        text = pattern.sub(replacement, text)
    return text


def _repair(
    _app: Sphinx, _page: str, _template: str, context: dict[str, object], _doctree: nodes.document | None
) -> None:
    body = context.get("body")
    if isinstance(body, str):
        context["body"] = repaired(body)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Repair each page as it is written."""
    app.connect("html-page-context", _repair)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
