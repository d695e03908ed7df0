"""All style sheets of the book as one file: a page is not painted before the last of them has come.

A sheet that only some pages have, such as that of formulas, keeps its own link, before the joined one.
"""

from __future__ import annotations

import hashlib
import re
from importlib.metadata import version
from pathlib import Path
from posixpath import dirname, normpath
from typing import TYPE_CHECKING

from sphinx.errors import ExtensionError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

__all__ = ["joined", "setup"]

_ROOT = Path(__file__).parents[2]
# In the order in which the theme and Sphinx link them; later rules win.
_PARTS = (
    "styles/theme.css",
    "styles/pydata-sphinx-theme.css",
    "pygments.css",
    "mystnb.*.css",
    "page.css",
    "sphinx-design.min.css",
    "book.css",
)
_WHOLE = "style.css"
_OURS = (_ROOT / "book" / "frontend" / "dist" / "page.css", _ROOT / "book" / "static" / "book.css", Path(__file__))
_THEIRS = ("Sphinx", "pydata-sphinx-theme", "Pygments", "myst-nb", "sphinx-design")
_IMPORT = re.compile(r"""@import\s+["']([^"']+)["'];""")
_ADDRESS = re.compile(r"""url\((["']?)(?!data:|#)([^)"']+)\1\)""")


def joined(static: Path, parts: Iterable[Path]) -> str:
    """Return the sheets as one, with what they import in its place, and addresses as seen from `static`.

    Raises:
        ExtensionError: a sheet is missing.
    """
    return "\n".join(_sheet(static, part) for part in parts)


def _sheet(static: Path, path: Path) -> str:
    if not path.is_file():
        raise ExtensionError(f"style sheet missing: expected {path}, got no file; build the book into an empty folder")
    folder = dirname(path.relative_to(static).as_posix())
    text = _ADDRESS.sub(lambda found: f"url({_from(folder, found[2])})", path.read_text(encoding="utf-8"))
    return _IMPORT.sub(lambda found: _sheet(static, static / _from(folder, found[1])), text)


def _from(folder: str, address: str) -> str:
    return normpath(f"{folder}/{address}") if folder else address


def _parts(static: Path) -> list[Path]:
    return [next(iter(sorted(static.glob(pattern))), static / pattern) for pattern in _PARTS]


def _link_whole(app: Sphinx, _pagename: str, _templatename: str, context: dict[str, object], _doctree: object) -> None:
    sheets = context.get("css_files")
    if app.builder.format != "html" or not isinstance(sheets, list):
        return
    own = [sheet for sheet in sheets if not any(Path(_name(sheet)).match(pattern) for pattern in _PARTS)]
    context["css_files"] = own
    context["whole_style"] = f"_static/{_WHOLE}"
    context["whole_style_version"] = _version()


def _name(sheet: object) -> str:
    return str(getattr(sheet, "filename", sheet)).partition("?")[0]


def _version() -> str:
    digest = hashlib.sha256(" ".join(version(name) for name in _THEIRS).encode())
    for path in _OURS:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def _join(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    parts = _parts(static)
    (static / _WHOLE).write_text(joined(static, parts), encoding="utf-8")
    for part in (*parts, static / "basic.css"):
        part.unlink(missing_ok=True)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Link the joined sheet on every page; join it when the theme's own has been slimmed."""
    app.connect("html-page-context", _link_whole, priority=900)
    app.connect("build-finished", _join, priority=950)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
