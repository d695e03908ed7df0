"""The offline zip and the PDF, made and opened for real."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from pypdf import PdfReader

from book.browser import chromium
from book.offline import main as offline_main
from book.offline import pack
from book.pdf import print_book, problems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the edition without live parts; the lessons' outputs come from the cache of the build before."""
    folder = tmp_path_factory.mktemp("offline")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "-n", "-D", "book_live=0"]
    subprocess.run([*command, "-d", str(folder / "doctrees"), str(ROOT), str(folder / "html")], check=True, cwd=ROOT)
    return folder / "html"


@pytest.fixture(scope="module")
def unpacked(pages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reader")
    archive = folder / "book.zip"
    assert pack(pages, archive) > 20
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    return folder / "inside-the-transformer"


@pytest.fixture
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.mark.parametrize("lesson", ["tour", "ablation"])
def test_an_unpacked_lesson_is_alive_without_server_and_network(browser: Browser, unpacked: Path, lesson: str) -> None:
    context = browser.new_context(offline=True)
    page = context.new_page()
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto((unpacked / "lessons" / f"{lesson}.html").as_uri())
    page.evaluate("() => window.tlHydrateAll()")
    figures = page.locator(".tl-output[data-mime*=plotly]")
    assert figures.count() >= 2
    assert page.locator(".tl-output .js-plotly-plot .main-svg").count() >= figures.count()
    for frame in page.locator(".tl-output[data-mime='text/html'] iframe").all():
        assert frame.content_frame.locator("svg text").first.is_visible()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    page.locator("div.cell button.tl-primary").first.click()
    page.get_by_text("noxfile.py serve").first.wait_for(timeout=5000)
    assert errors == []
    context.close()


def test_the_pdf_is_tagged_drawn_and_not_blank(unpacked: Path, tmp_path: Path) -> None:
    written = print_book(unpacked, tmp_path)
    names = {path.stem for path in written}
    assert {"index", "lessons-tour", "lessons-ablation", "book-glossary"} <= names
    for path in written:
        assert problems(path) == []
    tour = "\n".join(page.extract_text() for page in PdfReader(tmp_path / "lessons-tour.pdf").pages)
    assert "Paris" in tour
    assert "Likeliest next tokens" in tour, "the title that only a drawn figure shows"


def test_paper_shows_the_light_picture_of_each_figure_and_needs_no_plotly(browser: Browser, unpacked: Path) -> None:
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((unpacked / "lessons" / "tour.html").as_uri())
    page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
    pictures = page.locator(".tl-picture")
    assert pictures.count() >= 3
    for picture in pictures.all():
        image = picture.locator("img:visible")
        expect(image).to_have_count(1)
        assert "-light.svg" in str(image.evaluate("image => image.decode().then(() => image.currentSrc)"))
    assert [url for url in asked if "plotly" in url and url.endswith(".js") and "/vendor/" in url] == []
    context.close()


def test_a_page_printed_as_soon_as_it_opens_shows_formulas_and_no_tex(
    browser: Browser, unpacked: Path, tmp_path: Path
) -> None:
    page = browser.new_page()
    page.goto((unpacked / "kb" / "documents" / "self-attention.html").as_uri())
    page.pdf(path=str(tmp_path / "at-once.pdf"), tagged=True)
    sheets = PdfReader(tmp_path / "at-once.pdf").pages
    text = "\n".join(sheet.extract_text() for sheet in sheets)
    assert "softmax(QK" in text
    assert "\\mathrm" not in text
    assert any("KaTeX" in str(font.get_object()) for sheet in sheets for font in sheet["/Resources"]["/Font"].values())
    page.close()


def test_an_untagged_or_blank_pdf_is_refused(browser: Browser, tmp_path: Path) -> None:
    page = browser.new_page()
    page.set_content("<title>t</title><p>text</p><div style='break-before:page'>&nbsp;</div>")
    page.pdf(path=str(tmp_path / "untagged.pdf"), tagged=False)
    page.pdf(path=str(tmp_path / "blank.pdf"), tagged=True)
    assert "it is not tagged" in problems(tmp_path / "untagged.pdf")
    assert "page 2 is blank" in problems(tmp_path / "blank.pdf")
    page.close()


def test_packing_without_pages_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert offline_main([str(tmp_path), str(tmp_path / "x.zip")]) == 1
    message = capsys.readouterr().err
    assert "expected index.html" in message
    assert "nox -s offline" in message
    assert not list(tmp_path.glob("x*"))
