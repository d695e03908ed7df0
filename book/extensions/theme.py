"""Leaves out of the finished book what no page of it uses: the theme's icons and their fonts, a second search.

Icons are drawn by `book.css`; a test opens every kind of page and fails when one asks for a file that is not there.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

__all__ = ["setup", "slimmer"]

_UNUSED = (
    "pictures.js",  # the build's own
    "doctools.js",
    "sphinx_highlight.js",
    "searchtools.js",
    "language_data.js",
    "webpack-macros.html",
    "scripts/fontawesome.js",
    "scripts/fontawesome.js.map",
    "scripts/bootstrap.js.map",
    "scripts/pydata-sphinx-theme.js.map",
    "styles/pydata-sphinx-theme.css.map",
    "vendor/fontawesome",
)
_STYLE = "styles/pydata-sphinx-theme.css"
# Two thousand names of icons, and the fonts that hold them.
_ICONS = re.compile(r'(?:\.fa-[\w-]+,?)+\{--fa:"(?:[^"\\]|\\.)*"\}|@font-face\{[^}]*Font Awesome[^}]*\}')
_MAP = re.compile(r"/\*# sourceMappingURL=.*?\*/")


def slimmer(style: str) -> str:
    """Return a style sheet without the rules that name icons, and without the name of its map."""
    return _MAP.sub("", _ICONS.sub("", style))


def _slim(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    for name in _UNUSED:
        path = static / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    style = static / _STYLE
    if style.is_file():
        style.write_text(slimmer(style.read_text(encoding="utf-8")), encoding="utf-8")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Clean up when everything else has been copied."""
    app.connect("build-finished", _slim, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
