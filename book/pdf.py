"""`python -m book.pdf PAGES FOLDER`: print every page of a built book as tagged PDF, with its figures drawn.

Chromium prints what a reader would see, and keeps headings, lists, tables and links as tags for screen readers.
Refuses: an untagged file, or one whose figures stayed empty.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pypdf import PdfReader

from book.browser import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Page, PdfMargins, ViewportSize

__all__ = ["print_book", "problems"]

_SKIPPED = {"search.html", "genindex.html"}
_MARGIN: PdfMargins = {"top": "18mm", "bottom": "18mm", "left": "16mm", "right": "16mm"}
# A4 less its margins, in CSS pixels: figures are laid out on the screen for the width that they are printed at.
_PRINT_WIDTH: ViewportSize = {"width": 673, "height": 950}
_DRAWN = ".tl-picture img, .js-plotly-plot .main-svg, iframe, .tl-widgets > *, .tl-grid"
_UNDRAWN = """drawn => [...document.querySelectorAll('.tl-output')].filter(output => {
  const shown = one => one.getBoundingClientRect().height >= 20 && one.naturalWidth !== 0;
  return ![...output.querySelectorAll(drawn)].some(shown);
}).length"""


def print_book(pages: Path, folder: Path) -> list[Path]:
    """Print every HTML page below `pages` into `folder` and return the files, in order.

    Raises:
        FileNotFoundError: no pages, or no Chromium.
        RuntimeError: a figure stayed undrawn, or a file is untagged or blank.
    """
    sources = [
        path for path in sorted(pages.rglob("*.html")) if path.name not in _SKIPPED and "_static" not in path.parts
    ]
    if not sources:
        raise FileNotFoundError(f"no pages to print: expected HTML files, got none at {pages}; run: nox -s pdf")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with chromium() as browser:
        page = browser.new_page(viewport=_PRINT_WIDTH, color_scheme="light")
        for source in sources:
            target = folder / f"{'-'.join(source.relative_to(pages).with_suffix('').parts)}.pdf"
            _print(page, source, target)
            written.append(target)
    return written


def _print(page: Page, source: Path, target: Path) -> None:
    page.goto(source.as_uri())
    page.evaluate("() => window.tlHydrateAll({ picturesWillDo: true })")
    undrawn = page.evaluate(_UNDRAWN, _DRAWN)
    if undrawn:
        raise RuntimeError(f"figure not drawn: expected all, got {undrawn} empty at {source}; open the page to see why")
    page.emulate_media(media="print")
    fresh = target.with_suffix(".part")
    page.pdf(path=str(fresh), tagged=True, outline=True, print_background=True, format="A4", margin=_MARGIN)
    page.emulate_media(media="screen")
    found = problems(fresh)
    if found:
        fresh.unlink()
        raise RuntimeError(f"PDF refused: {'; '.join(found)} at {source}")
    fresh.replace(target)


def problems(path: Path) -> list[str]:
    """Return what makes a PDF unfit to hand out: missing tags, no title, blank pages, unrendered output."""
    reader = PdfReader(path)
    catalogue: Any = reader.trailer["/Root"]
    found = []
    if not catalogue.get("/MarkInfo", {}).get("/Marked") or "/StructTreeRoot" not in catalogue:
        found.append("it is not tagged")
    if not (reader.metadata and reader.metadata.title):
        found.append("it has no title")
    texts = [page.extract_text() for page in reader.pages]
    for number, (page, text) in enumerate(zip(reader.pages, texts, strict=True), start=1):
        if not text.strip() and not page.images:
            found.append(f"page {number} is blank")
    whole = "\n".join(texts)
    found += [f"it shows {mark!r}" for mark in ("<IPython.core.display", "\\begin{", "FigureWidget(") if mark in whole]
    return found


def main(arguments: list[str]) -> int:
    """Run the command line; return the exit status."""
    try:
        pages, folder = map(Path, arguments)
        written = print_book(pages, folder)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"pdf: {error}", file=sys.stderr)  # noqa: T201  a command speaks
        return 1
    for path in written:
        print(f"{path}: {len(PdfReader(path).pages)} pages, tagged")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
