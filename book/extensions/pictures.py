"""A picture in the place of every stored plotly figure, there at first paint and without any script.

All pictures are made between reading and writing, in the main process, so that pages may be written in parallel. Where
they cannot be made, a page is as without this extension: its script draws the figure when it comes into view.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.util import logging

from book.extensions.mime import PLOTLY, drawn_outputs, inert, is_drawn, parts_of
from book.pictures import Figure, Pictures, PicturesMissing, drawn, kept

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment
    from sphinx.util.typing import ExtensionMetadata

__all__ = ["Gallery", "picture_html", "setup"]

_logger = logging.getLogger(__name__)
_FOLDER = "_static/figures"
_THEMES = ("light", "dark")


class Gallery:
    """The pictures of one build: made once, hung into each page as it is written, and copied at the end."""

    def __init__(self) -> None:
        self.pictures: dict[str, Pictures] = {}

    def make(self, app: Sphinx, env: BuildEnvironment) -> list[str]:
        """Make what the pages need; return the pages whose pictures are not those of the build before."""
        if app.builder.format != "html":
            return []
        wanted = {name: list(_figures_of(env.get_doctree(name))) for name in sorted(env.found_docs)}
        everything = [figure for figures in wanted.values() for figure in figures]
        try:
            self.pictures = drawn(everything)
        except PicturesMissing as missing:
            # Not a warning: a reader's machine needs no browser to build the book.
            _logger.info("%s", missing)
            self.pictures = kept(everything)
        hung = {name: [f.key for f in figures if f.key in self.pictures] for name, figures in wanted.items()}
        before = getattr(env, "tl_pictures", {})
        env.tl_pictures = hung  # type: ignore[attr-defined]
        return [name for name, keys in hung.items() if keys != before.get(name, [])]

    def hang(self, app: Sphinx, doctree: nodes.document, docname: str) -> None:
        """Put the pictures into one page."""
        root = "../" * docname.count("/")
        is_first = True
        for node in doctree.findall(is_drawn):
            mime_type, data, twin = parts_of(node.astext())
            pictures = self.pictures.get(Figure(data, twin).key) if mime_type == PLOTLY else None
            if pictures is None or app.builder.format != "html":
                continue
            node.rawsource = inert(mime_type, data, picture_html(pictures, twin, root=root, is_first=is_first))
            node.children[:] = [nodes.Text(node.rawsource)]
            is_first = False

    def copy(self, app: Sphinx, error: Exception | None) -> None:
        """Write the files that pages name, and remove those that none names any more."""
        if error is not None or app.builder.format != "html":
            return
        folder = Path(app.outdir) / _FOLDER
        files = {pictures.file_name(one): one.svg for pictures in self.pictures.values() for one in pictures.pictures}
        if folder.is_dir():
            for path in folder.iterdir():
                if path.name not in files:
                    path.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        for name, svg in files.items():
            (folder / name).write_text(svg, encoding="utf-8")


def _figures_of(doctree: nodes.document) -> Iterator[Figure]:
    for node, twin in drawn_outputs(doctree):
        mime_type, data, _ = parts_of(node.astext())
        if mime_type == PLOTLY:
            yield Figure(data, twin)


def picture_html(pictures: Pictures, twin: str, *, root: str, is_first: bool) -> str:
    """Return a figure's place as the live figure will have it, with a picture for each theme, and the twin folded."""
    shown = "".join(_in_theme(pictures, theme, root, is_first=is_first) for theme in _THEMES)
    place = f'<div class="tl-figure tl-picture" style="height:{pictures.height:g}px">{shown}</div>'
    if not twin:
        return place
    pre = f'<pre class="tl-twin" tabindex="0">{escape(twin)}</pre>'
    return f'{place}<details class="tl-twin-details"><summary>As text</summary>{pre}</details>'


def _in_theme(pictures: Pictures, theme: str, root: str, *, is_first: bool) -> str:
    sources = []
    for one in (picture for picture in pictures.pictures if picture.theme == theme):
        address = f"{root}{_FOLDER}/{pictures.file_name(one)}"
        size = f'width="{one.width}" height="{pictures.height:g}"'
        if one.media:
            sources.append(f'<source media="{one.media}" srcset="{address}" {size}>')
            continue
        # A hidden picture that may wait is never fetched; of the first one only the usual theme goes ahead.
        loading = ' fetchpriority="high"' if is_first and theme == _THEMES[0] else ' loading="lazy"'
        sources.append(f'<img src="{address}" alt="{escape(pictures.name)}" {size} decoding="async"{loading}>')
    return f'<picture class="tl-in-{theme}">{"".join(sources)}</picture>'


def setup(app: Sphinx) -> ExtensionMetadata:
    """Connect a gallery to the build's steps."""
    gallery = Gallery()
    app.connect("env-updated", gallery.make)
    app.connect("doctree-resolved", gallery.hang)
    app.connect("build-finished", gallery.copy)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
