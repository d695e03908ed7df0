"""Pictures of figures: drawn by real plotly, inert whatever the figure says, kept, and left out where no browser is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.served_book import SITE
from book.extensions.mime import PLOTLY, inert, parts_of
from book.extensions.pictures import picture_html
from book.pictures import Figure, Picture, Pictures, PicturesMissing, active_part, drawn, kept

ROOT = Path(__file__).parents[2]
VENDOR = SITE / "_static" / "vendor"
MODULES = ROOT / "book" / "frontend" / "node_modules"
HOSTILE = (
    '</script><script>alert(1)</script><a href="javascript:alert(1)">x</a><a href="https://elsewhere.example">y</a>'
    "<img src=x onerror=alert(1)>"
)


def figure(title: str = "Three bars", twin: str = "Three bars. The second is highest.") -> Figure:
    data = [{"type": "bar", "x": ["a", HOSTILE, "c"], "y": [1, 3, 2], "text": [HOSTILE, "", ""]}]
    layout = {
        "title": {"text": title},
        "height": 300,
        "images": [{"source": "https://elsewhere.example/a.png", "x": 0, "y": 1, "sizex": 1, "sizey": 1}],
    }
    return Figure(json.dumps({"data": data, "layout": layout}).replace("<", "\\u003c"), twin)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pictures, Path]:
    folder = tmp_path_factory.mktemp("pictures")
    hostile = figure(title=f"Bars {HOSTILE}")
    return drawn([hostile], folder=folder)[hostile.key], folder


@pytest.mark.browser
def test_a_hostile_figure_gives_inert_pictures(made: tuple[Pictures, Path]) -> None:
    pictures, _ = made
    assert {(one.theme, one.size) for one in pictures.pictures} == {
        (theme, size) for theme in ("light", "dark") for size in ("phone", "column", "wide", "widest")
    }
    for one in pictures.pictures:
        assert active_part(one.svg) is None
        root = ET.fromstring(one.svg)  # noqa: S314  drawn a moment ago
        assert (root.get("width"), root.get("height")) == (str(one.width), "300")
        assert "elsewhere.example" not in {value for element in root.iter() for value in element.attrib.values()}


@pytest.mark.browser
def test_themes_differ_in_colours_alone(made: tuple[Pictures, Path]) -> None:
    pictures, _ = made
    light, dark = (
        next(p.svg for p in pictures.pictures if (p.theme, p.size) == (t, "wide")) for t in ("light", "dark")
    )
    assert "rgb(36, 39, 44)" in light
    assert "rgb(217, 215, 209)" in dark
    shapes = []
    for svg in (light, dark):
        own = re.search(r'id="defs-(\w+)"', svg)
        assert own, "plotly numbers its drawings at random"
        shapes.append(re.sub(r"rgba?\([^)]*\)", "", svg.replace(own[1], "")))
    assert shapes[0] == shapes[1]


@pytest.mark.browser
def test_what_was_drawn_needs_no_browser_again(made: tuple[Pictures, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, folder = made
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    again = figure(title=f"Bars {HOSTILE}")
    assert drawn([again], folder=folder) == {again.key: pictures}


def test_without_a_browser_a_sentence_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    with pytest.raises(PicturesMissing, match=r"no Chromium: expected one of .* got /nowhere/chromium; install it"):
        drawn([figure()], folder=tmp_path)
    assert kept([figure()], folder=tmp_path) == {}


def test_other_words_or_data_are_another_picture() -> None:
    keys = {figure().key, figure(title="Else").key, figure(twin="Else").key}
    assert len(keys) == 3
    assert figure().key in keys


@pytest.mark.parametrize(
    ("inside", "found"),
    [
        ("<script>1</script>", "<script>"),
        ("<a/>", "<a>"),
        ("<rect onclick='x'/>", "onclick='x'"),
        ("<image href='https://elsewhere.example'/>", "href='https://elsewhere.example'"),
        ("<image href='data:image/png;base64,x'/><use href='#a'/><text> on a = javascript: </text>", None),
    ],
)
def test_the_last_check_finds_what_could_act(inside: str, found: str | None) -> None:
    assert active_part(f'<svg xmlns="http://www.w3.org/2000/svg">{inside}</svg>') == found


def test_a_page_holds_a_picture_for_each_theme_and_width_and_the_twin() -> None:
    made = tuple(
        Picture(theme, size, width, media, "<svg/>")
        for theme in ("light", "dark")
        for size, width, media in (("phone", 358, "(max-width: 560px)"), ("column", 804, ""))
    )
    twin = 'It says "a" < b. <script>'
    html = picture_html(Pictures("k", 'A "name" <b>', 300, made), twin, root="../", is_first=True)
    assert html.count("<picture") == 2
    assert (
        '<source media="(max-width: 560px)" srcset="../_static/figures/k-phone-dark.svg" width="358" height="300">'
        in html
    )
    assert html.count('alt="A &quot;name&quot; &lt;b&gt;" width="804" height="300" decoding="async"') == 2
    assert html.count('loading="lazy"') == 1, "of the first figure on a page the usual theme does not wait"
    assert picture_html(Pictures("k", "n", 300, made), twin, root="", is_first=False).count('loading="lazy"') == 2
    assert parts_of(inert(PLOTLY, "{}", html)) == (PLOTLY, "{}", twin)


LANGUAGE = {"language_info": {"name": "python", "pygments_lexer": "python"}}
_CONF = """
extensions = ["myst_nb", "book.extensions.mime", "book.extensions.pictures"]
nb_execution_mode = "off"
"""


def test_a_build_without_a_browser_has_pages_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    output = {
        "output_type": "display_data",
        "metadata": {},
        "data": {PLOTLY: {"data": [{"y": [tmp_path.name]}]}, "text/plain": "a new figure"},
    }
    cell = {"cell_type": "code", "execution_count": 1, "metadata": {}, "source": "1", "outputs": [output], "id": "a"}
    book = {"cells": [{"cell_type": "markdown", "metadata": {}, "source": "# T", "id": "b"}, cell]}
    (tmp_path / "conf.py").write_text(_CONF)
    (tmp_path / "index.ipynb").write_text(
        json.dumps({**book, "metadata": LANGUAGE, "nbformat": 4, "nbformat_minor": 5})
    )
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "-j", "2", str(tmp_path), str(tmp_path / "out")]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert finished.returncode == 0, finished.stderr
    said = [line for line in finished.stdout.splitlines() if "no pictures of figures" in line]
    assert len(said) == 1
    assert "got /nowhere/chromium" in said[0]
    page = (tmp_path / "out" / "index.html").read_text()
    assert '<pre class="tl-twin">a new figure</pre>' in page
    assert "tl-picture" not in page


def test_every_figure_of_the_built_book_has_its_pictures() -> None:
    pages = [path for path in SITE.rglob("*.html") if f'data-mime="{PLOTLY}"' in path.read_text()]
    assert len(pages) >= 20
    for page in pages:
        text = page.read_text()
        assert text.count('class="tl-figure tl-picture"') == text.count(f'data-mime="{PLOTLY}"'), page
        named = re.findall(r'(?:src|srcset)="([^"]*_static/figures/[^"]+)"', text)
        assert len(named) >= 8
        assert [name for name in named if not (page.parent / name).is_file()] == []
        assert all(len(unescape(alt)) > 20 for alt in re.findall(r'<img[^>]*_static/figures/[^>]*alt="([^"]*)"', text))


def test_both_parts_of_plotly_are_the_same_version() -> None:
    whole, cartesian = ((VENDOR / name).read_text()[:600] for name in ("plotly.min.js", "plotly-cartesian.min.js"))
    versions = [re.search(r"plotly\.js(?: \([^)]*\))? v([\d.]+)", head) for head in (whole, cartesian)]
    assert versions[0]
    assert versions[1]
    assert versions[0][1] == versions[1][1]


def test_the_smaller_part_holds_what_the_page_believes_it_holds() -> None:
    source = (ROOT / "book" / "frontend" / "src" / "figures" / "plotly.ts").read_text()
    believed = re.search(r'"([a-z0-9 ]+)"\.split', source)
    assert believed
    held = set(re.findall(r'moduleType:"trace",name:"(\w+)"', (VENDOR / "plotly-cartesian.min.js").read_text()))
    assert held == set(believed[1].split())
