"""Leaves MathJax to the page's own script, which loads it when a formula comes near, and not with every page.

Without scripts a reader sees TeX, as before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

__all__ = ["setup"]


def _without_mathjax(
    app: Sphinx, _page: str, _template: str, context: dict[str, object], _doctree: nodes.document | None
) -> None:
    scripts = context.get("script_files")
    if isinstance(scripts, list):
        context["script_files"] = [
            script
            for script in scripts
            if not str(getattr(script, "filename", script)).endswith(app.config.mathjax_path)
        ]


def setup(app: Sphinx) -> ExtensionMetadata:
    """Take the script out again where Sphinx has put it."""
    app.connect("html-page-context", _without_mathjax, priority=901)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
