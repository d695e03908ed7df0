"""Outputs that need a script: figures, widgets, grids, and HTML that brings scripts, each with its text twin.

MyST-NB drops plotly 7's figures and pastes foreign HTML into the page as it is. Here all become inert data in a
`div.tl-output`, which the front end draws, the HTML in a frame that cannot reach the page.
Refuses: drawing. Without the front end a reader sees the text twin.
"""

from __future__ import annotations

import json
import os
import re
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from book.extensions.maths import latex_output

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

__all__ = ["GRID", "PLOTLY", "WIDGET", "BookPaths", "FigureRenderer", "TextTwins", "setup"]

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
_CLOSING = "</div>"


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
        for bundle in self.document.findall(nodes.container):
            if bundle.get("nb_element") != "mime_bundle":
                continue
            forms = {form["mime_type"]: form for form in bundle.children}
            drawn = next((raw for form in forms.values() for raw in form.findall(_is_drawn)), None)
            if drawn is None or "text/plain" not in forms:
                continue
            twin = f'<pre class="tl-twin">{escape(forms["text/plain"].astext())}</pre>{_CLOSING}'
            drawn.children[0] = nodes.Text(drawn.astext().removesuffix(_CLOSING) + twin)
            drawn.rawsource = drawn.astext()


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
    return [nodes.raw(text=_inert(mime_type, content), format="html", tl_drawn=True)]


def _unclosed(script: str) -> str:
    """Keep a script from closing its own element; the words occur in strings, where a backslash changes nothing."""
    return re.sub(r"</(?=script)", r"<\\/", script, flags=re.IGNORECASE)


def _is_drawn(node: nodes.Node) -> bool:
    return isinstance(node, nodes.raw) and bool(node.get("tl_drawn"))


def _inert(mime_type: str, content: object) -> str:
    # Inside a script element "</script" and "<!--" mean something; in JSON any "<" may be written as an escape.
    data = json.dumps(content, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    return f'<div class="tl-output" data-mime="{mime_type}"><script type="application/json">{data}</script>{_CLOSING}'


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the transforms; the renderer is found through its entry point."""
    app.add_post_transform(TextTwins)
    app.add_post_transform(BookPaths)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
