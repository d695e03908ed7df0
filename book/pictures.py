"""Pictures of plotly figures for pages at first paint: SVG files, drawn once by real plotly in headless Chromium.

The page's own layout code and colours are loaded there, so that the live figure takes a picture's place unnoticed. What
was drawn is kept by the content of figure, code and colours: an unchanged book needs no browser.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from playwright.sync_api import Page

__all__ = ["Figure", "Picture", "Pictures", "PicturesMissing", "active_part", "drawn", "kept"]

_ROOT = Path(__file__).parents[1]
_KEPT = _ROOT / "build" / "pictures"
_CODE = _ROOT / "book" / "frontend" / "dist" / "pictures.js"
_COLOURS = _ROOT / "book" / "static" / "book.css"
_VARIABLE = re.compile(r"--[\w-]+:[^;}]*")
_ACTIVE = frozenset({"script", "foreignObject", "iframe", "a", "set", "animate"})
_HARMLESS = ("#", "data:image/")
_FIGURE_TIMEOUT_MS = 60_000


class PicturesMissing(RuntimeError):
    """Figures have no pictures, and why."""


@dataclass(frozen=True)
class Figure:
    """A stored figure: its JSON as the page holds it, and its text twin."""

    data: str
    twin: str

    @property
    def key(self) -> str:
        """What its pictures are kept under: a digest of all that they depend on."""
        return hashlib.sha256(f"{_state()}\0{self.data}\0{self.twin}".encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Picture:
    """One SVG: for which theme, which width of the figure's place, and which windows; `media` is empty for the rest."""

    theme: str
    size: str
    width: int
    media: str
    svg: str


@dataclass(frozen=True)
class Pictures:
    """All pictures of one figure, what it is called, and how high it is in pixels."""

    key: str
    name: str
    height: int
    pictures: tuple[Picture, ...]

    def file_name(self, picture: Picture) -> str:
        """Return the name of a picture's file, which changes with its content."""
        return f"{self.key}-{picture.size}-{picture.theme}.svg"


def kept(wanted: Iterable[Figure], *, folder: Path = _KEPT) -> dict[str, Pictures]:
    """Return the pictures that were drawn before, by key."""
    found = {}
    for figure in wanted:
        path = folder / f"{figure.key}.json"
        if path.is_file():
            found[figure.key] = _parsed(figure.key, json.loads(path.read_text(encoding="utf-8")))
    return found


def drawn(wanted: Iterable[Figure], *, folder: Path = _KEPT) -> dict[str, Pictures]:
    """Return the pictures of figures by key; what is not kept yet is drawn and kept.

    Raises:
        PicturesMissing: something has to be drawn, and there is no browser, or it failed; what it had drawn is kept.
    """
    figures = {figure.key: figure for figure in wanted}
    missing = [figure for key, figure in figures.items() if not (folder / f"{key}.json").is_file()]
    if missing:
        _draw(missing, folder)
    return kept(figures.values(), folder=folder)


def _draw(figures: list[Figure], folder: Path) -> None:
    """Draw each figure and keep it; one that plotly refuses is left out, and the page will say why."""
    try:
        from playwright.sync_api import Error  # noqa: PLC0415  only where something is drawn

        from book.browser import chromium  # noqa: PLC0415  it needs playwright
    except ImportError as error:
        raise PicturesMissing(
            f"no pictures of figures: expected playwright, got {error}; install it with the extra 'print'"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with chromium() as browser:
            context = browser.new_context(offline=True)
            page = context.new_page()
            _load(page)
            for figure in figures:
                _keep(figure, page.evaluate(_PAINT, [json.loads(figure.data), figure.twin]), folder)
    except FileNotFoundError as error:
        raise PicturesMissing(f"no pictures of figures: {error}") from error
    except Error as error:
        raise PicturesMissing(
            f"no pictures of figures: expected Chromium to draw {len(figures)}, got {str(error).splitlines()[0]}; "
            f"the page draws them itself"
        ) from error


_PAINT = """([figure, twin]) => window.tlPictures(figure, twin).catch(() => null)"""


def _load(page: Page) -> None:
    page.set_default_timeout(_FIGURE_TIMEOUT_MS)
    page.set_content("<!doctype html><html lang='en'><title>Pictures</title><body></body></html>")
    page.add_style_tag(path=_COLOURS)
    with as_file(files("plotly") / "package_data" / "plotly.min.js") as plotly:
        page.add_script_tag(path=plotly)
    page.add_script_tag(path=_CODE)


def _keep(figure: Figure, found: dict[str, Any] | None, folder: Path) -> None:
    if found is None:
        return
    for picture in found["pictures"]:
        active = active_part(picture["svg"])
        if active:
            raise PicturesMissing(
                f"picture refused: expected an inert SVG, got {active} in that of {found['name']!r}; "
                f"see book/frontend/src/pictures/inert_svg.ts"
            )
    path = folder / f"{figure.key}.json"
    # Two builds may draw the same figure: each writes its own file and renames it.
    fresh = path.with_suffix(f".{os.getpid()}.part")
    fresh.write_text(json.dumps(found), encoding="utf-8")
    fresh.replace(path)


def active_part(svg: str) -> str | None:
    """Return what in an SVG could act or lead out of it: nothing, where the front end has cleaned it well."""
    for element in ET.fromstring(svg).iter():  # noqa: S314  our own browser wrote it
        if element.tag.rpartition("}")[2] in _ACTIVE:
            return f"<{element.tag.rpartition('}')[2]}>"
        for name, value in element.attrib.items():
            plain = name.rpartition("}")[2]
            if plain.startswith("on") or (plain == "href" and not value.startswith(_HARMLESS)):
                return f"{plain}={value[:60]!r}"
    return None


def _parsed(key: str, raw: Mapping[str, Any]) -> Pictures:
    return Pictures(key, raw["name"], raw["height"], tuple(Picture(**picture) for picture in raw["pictures"]))


@cache
def _state() -> str:
    """Return a digest of the code, colours and plotly that pictures are drawn with."""
    digest = hashlib.sha256((files("plotly") / "package_data" / "plotly.min.js").read_bytes())
    for path in (_CODE, _COLOURS):
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        # Of the style sheet only its variables count: a rule for headings leaves figures as they are.
        digest.update("".join(_VARIABLE.findall(text) if path == _COLOURS else [text]).encode())
    return digest.hexdigest()
