"""Code without marks around what no theme colours: names and punctuation, a third of all elements of a lesson.

A browser styles and lays out every element before it shows the page; text without an element of its own costs little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pygments.formatters import HtmlFormatter
from pygments.token import Name, Punctuation, Text, Whitespace
from sphinx.highlighting import PygmentsBridge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

__all__ = ["QuietFormatter", "setup"]

# A test holds both themes to it.
_PLAIN = frozenset({Name, Punctuation, Whitespace})


class QuietFormatter(HtmlFormatter[str]):  # type: ignore[misc]  # pygments has no types
    """Pygments' own, with plain text where the colour is the text's."""

    def format_unencoded(self, tokensource: Iterator[tuple[Any, str]], outfile: Any) -> None:  # noqa: ANN401  pygments' own
        """Write the tokens, those of the text's colour as text."""
        quiet = ((Text if kind in _PLAIN else kind, text) for kind, text in tokensource)
        super().format_unencoded(quiet, outfile)


def setup(app: Sphinx) -> ExtensionMetadata:  # noqa: ARG001  Sphinx calls it
    """Let Sphinx highlight with it; what else reads the bridge keeps its formatter for LaTeX."""
    PygmentsBridge.html_formatter = QuietFormatter
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
