"""Outputs that need a script: figures, widgets, grids, and HTML that brings scripts, each with its text twin.

MyST-NB drops plotly 7's figures and pastes foreign HTML into the page as it is. Here all become inert data in a
`div.tl-output`, which the front end draws, the HTML in a frame that cannot reach the page.
Refuses: drawing. Without the front end a reader sees the text twin.
"""

from __future__ import annotations

import json
import os
import re
from html import escape, unescape
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from book.extensions.maths import latex_output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

__all__ = [
    "GRID",
    "PLOTLY",
    "WIDGET",
    "BookPaths",
    "FigureRenderer",
    "TextTwins",
    "drawn_outputs",
    "inert",
    "is_drawn",
    "parts_of",
    "setup",
]

PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
GRID = "application/vnd.tlab.grid+json"
_HTML = "text/html"
_JAVASCRIPT = "application/javascript"
_MARKDOWN = "text/markdown"
_LATEX = "text/latex"
# Drawn by the front end whatever they hold.
_DATA = frozenset({PLOTLY, WIDGET, GRID})
# MyST-NB would put these into the page as they are.
_FOREIGN = frozenset({_HTML, _MARKDOWN})
_BRINGS_SCRIPT = re.compile(
    r"<\s*(script|iframe|object|embed|meta|base|form|link)\b|\son\w+\s*=|javascript:", re.IGNORECASE
)
_INERT = re.compile(
    r'<div class="tl-output" data-mime="([^"]+)"><script type="application/json">(.*?)</script>', re.DOTALL
)
_TWIN = re.compile(r'<pre class="tl-twin"[^>]*>(.*?)</pre>', re.DOTALL)


class FigureRenderer:
    """MyST-NB's renderer plugin for both kinds of output; registered as an entry point."""

    # A figure goes before any other form of the same output; text stays the last resort.
    mime_priority_overrides: ClassVar[list[tuple[str, str, int | None]]] = [
        ("*", GRID, 4),
        ("*", PLOTLY, 5),
        # A widget brings a text form only; for print and for screens without scripts that is what there is.
        ("html", WIDGET, 6),
    ]

    @staticmethod
    def handle_mime(_renderer: object, data: Any, inline: bool) -> list[nodes.Element] | None:  # noqa: FBT001, ANN401  MyST-NB's protocol
        """Return the output as inert data, or `None` to leave it to MyST-NB."""
        if data.mime_type in _DATA:
            return _drawn(data.mime_type, data.content)
        if data.mime_type == _JAVASCRIPT:
            return _drawn(_HTML, f"<script>{_unclosed(data.string)}</script>")
        if data.mime_type == _LATEX and not inline:
            return [latex_output(data.string)]
        if data.mime_type in _FOREIGN and _BRINGS_SCRIPT.search(data.string):
            return _drawn(data.mime_type, data.string)
        return None


class TextTwins(SphinxPostTransform):
    """Put the text form of an output inside its drawn form, for readers without scripts, sight or a screen."""

    default_priority = 3  # MyST-NB drops all forms but one at 4

    def run(self, **_: object) -> None:
        """Walk the outputs of the page."""
        for node, twin in drawn_outputs(self.document):
            mime_type, data = parts_of(node.astext())[:2]
            node.rawsource = inert(mime_type, data, f'<pre class="tl-twin">{escape(twin)}</pre>' if twin else "")
            node.children[:] = [nodes.Text(node.rawsource)]


class BookPaths(SphinxPostTransform):
    """Show tracebacks with paths of the book, not of the machine that built it."""

    default_priority = 3

    def run(self, **_: object) -> None:
        """Shorten the paths in every traceback of the page."""
        root = f"{self.app.srcdir}{os.sep}"
        for block in self.document.findall(nodes.literal_block):
            if "traceback" in block["classes"] and root in block.astext():
                shortened = block.astext().replace(root, "")
                block.children[:] = [nodes.Text(shortened)]
                block.rawsource = shortened


def _drawn(mime_type: str, content: object) -> list[nodes.Element]:
    # Marked by an attribute: a class would make docutils wrap it in one more element.
    return [nodes.raw(text=inert(mime_type, _embeddable(content)), format="html", tl_drawn=True)]


def _unclosed(script: str) -> str:
    """Keep a script from closing its own element; the words occur in strings, where a backslash changes nothing."""
    return re.sub(r"</(?=script)", r"<\\/", script, flags=re.IGNORECASE)


def _embeddable(content: object) -> str:
    # Inside a script element "</script" and "<!--" mean something; in JSON any "<" may be written as an escape.
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")


def drawn_outputs(document: nodes.document) -> Iterator[tuple[nodes.raw, str]]:
    """Go through the outputs of a page that need a script: each with its text twin, which may be empty."""
    for bundle in document.findall(nodes.container):
        if bundle.get("nb_element") != "mime_bundle":
            continue
        forms = {form["mime_type"]: form for form in bundle.children}
        drawn = next((raw for form in forms.values() for raw in form.findall(is_drawn)), None)
        if drawn is not None:
            yield drawn, forms["text/plain"].astext() if "text/plain" in forms else ""


def is_drawn(node: nodes.Node) -> bool:
    """Say whether a node is the HTML of an output that needs a script."""
    return isinstance(node, nodes.raw) and bool(node.get("tl_drawn"))


def parts_of(html: str) -> tuple[str, str, str]:
    """Return what the HTML of an inert output was made of: its MIME type, its JSON, and its text twin."""
    found = _INERT.match(html)
    if found is None:
        raise ValueError(f"output unreadable: expected a div.tl-output, got {html[:60]!r}; see book/extensions/mime.py")
    twin = _TWIN.search(html, found.end())
    return found[1], found[2], unescape(twin[1]) if twin else ""


def inert(mime_type: str, data: str, shown: str = "") -> str:
    """Return the HTML of an output that does nothing by itself: its JSON, and what is shown until it is drawn."""
    return (
        f'<div class="tl-output" data-mime="{mime_type}"><script type="application/json">{data}</script>{shown}</div>'
    )


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the transforms; the renderer is found through its entry point."""
    app.add_post_transform(TextTwins)
    app.add_post_transform(BookPaths)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
