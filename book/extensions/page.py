"""What every page carries for the front end: its name, the way to the root, a place under the title, what is live.

Also copies plotly's script from the Python package, so that page and kernel draw with the same version.
"""

from __future__ import annotations

import json
import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

from sphinx.errors import ConfigError

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

__all__ = ["setup"]

_FRONT_END = Path(__file__).parents[1] / "frontend" / "dist"
# What the scripts put under the title has its place beforehand: an element that comes between others makes the browser
# style all that follow again.
_UNDER_TITLE = '<div class="tl-under-title"></div>'


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the page settings, scripts and style sheets."""
    app.add_config_value("book_live", default=True, rebuild="html", types=frozenset({bool}))
    app.connect("builder-inited", _require_front_end)
    app.connect("html-page-context", _add_settings)
    app.connect("build-finished", _copy_plotly)
    app.add_css_file("page.css")
    app.add_js_file("page.js", loading_method="defer")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _require_front_end(app: Sphinx) -> None:
    if app.builder.format == "html" and not (_FRONT_END / "page.js").is_file():
        raise ConfigError(
            f"front end missing: expected {_FRONT_END / 'page.js'}, got no file; build it with: nox -s frontend"
        )


def _add_settings(app: Sphinx, pagename: str, _templatename: str, context: dict[str, object], _doctree: object) -> None:
    body = context.get("body")
    if isinstance(body, str):
        context["body"] = body.replace("</h1>", f"</h1>{_UNDER_TITLE}", 1)
    settings = {
        "page": pagename,
        "root": "../" * pagename.count("/"),
        "live": bool(app.config.book_live),
        "chat": bool(app.config.book_live),
    }
    app.add_js_file(None, body=json.dumps(settings), type="application/json", id="tl-page")


def _copy_plotly(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    target = Path(app.outdir) / "_static" / "vendor" / "plotly.min.js"
    target.parent.mkdir(parents=True, exist_ok=True)
    with as_file(files("plotly") / "package_data" / "plotly.min.js") as source:
        shutil.copyfile(source, target)
