"""The three depths of a page, and notes in its margin.

`:::{look-closer}` and `:::{research-note}` fold what a first reading can leave out; a few words after the name say what
it is about. They are `<details>`: they open without scripts, and print opens them all.
`:::{margin}` puts a short remark beside the text, or into it where there is no room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata
    from sphinx.writers.html5 import HTML5Translator

__all__ = ["LookCloser", "Margin", "ResearchNote", "depth", "depth_title", "margin_note", "setup"]


class depth(nodes.General, nodes.Element):  # type: ignore[misc]  # noqa: N801  docutils is untyped and names nodes so
    """A folded part of a page, with a title as its first child; `depth` is `closer` or `research`."""


class depth_title(nodes.TextElement):  # type: ignore[misc]  # noqa: N801
    """What the fold says while it is closed."""


class margin_note(nodes.General, nodes.Element):  # type: ignore[misc]  # noqa: N801
    """A remark beside the text."""


class _Depth(SphinxDirective):
    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True
    depth: ClassVar[str]
    words: ClassVar[str]

    def run(self) -> list[nodes.Node]:
        """Return the fold."""
        self.assert_has_content()
        topic = f": {self.arguments[0]}" if self.arguments else ""
        title = depth_title("", "")
        parsed, messages = self.state.inline_text(self.words + topic, self.lineno)
        title.extend(parsed)
        fold = depth("", title, depth=self.depth)
        self.set_source_info(fold)
        self.state.nested_parse(self.content, self.content_offset, fold)
        return [fold, *messages]


class LookCloser(_Depth):
    """Mathematics, shapes and code for a practitioner."""

    depth = "closer"
    words = "Look closer"


class ResearchNote(_Depth):
    """What the literature says."""

    depth = "research"
    words = "Research note"


class Margin(SphinxDirective):
    """A short remark beside the text."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the note."""
        self.assert_has_content()
        note = margin_note()
        self.set_source_info(note)
        self.state.nested_parse(self.content, self.content_offset, note)
        return [note]


def _open_depth(self: HTML5Translator, node: nodes.Element) -> None:
    self.body.append(self.starttag(node, "details", CLASS=f"tl-depth tl-depth-{node['depth']}"))


def _close_depth(self: HTML5Translator, _node: nodes.Element) -> None:
    self.body.append("</details>\n")


def _open_title(self: HTML5Translator, node: nodes.Element) -> None:
    self.body.append(self.starttag(node, "summary", ""))


def _close_title(self: HTML5Translator, _node: nodes.Element) -> None:
    self.body.append("</summary>\n")


def _open_note(self: HTML5Translator, node: nodes.Element) -> None:
    # A note and not an aside: a page with many landmarks is hard to find one's way in by ear.
    self.body.append(self.starttag(node, "div", CLASS="tl-margin", ROLE="note"))


def _close_note(self: HTML5Translator, _node: nodes.Element) -> None:
    self.body.append("</div>\n")


def _nothing(_self: object, _node: nodes.Element) -> None:
    """Leave the content as it is, for builders without folds."""


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register nodes and directives."""
    plain: dict[str, Any] = dict.fromkeys(("latex", "text", "man", "texinfo"), (_nothing, _nothing))
    app.add_node(depth, html=(_open_depth, _close_depth), **plain)
    app.add_node(depth_title, html=(_open_title, _close_title), **plain)
    app.add_node(margin_note, html=(_open_note, _close_note), **plain)
    app.add_directive("look-closer", LookCloser)
    app.add_directive("research-note", ResearchNote)
    app.add_directive("margin", Margin)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
