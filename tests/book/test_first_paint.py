"""What a browser has to do before it shows a page: one style sheet, little markup in code, nothing measured."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from pygments.styles import get_style_by_name
from pygments.token import Name, Punctuation, Text
from sphinx.errors import ExtensionError
from sphinx.highlighting import PygmentsBridge

from benchmarks.served_book import SITE
from book.extensions.one_style import joined
from book.extensions.quiet_code import QuietFormatter
from conf import html_theme_options

if TYPE_CHECKING:
    from pathlib import Path

_STYLES = re.compile(r'<link[^>]*rel="stylesheet"[^>]*>')


def _pages() -> list[Path]:
    return [path for path in SITE.rglob("*.html") if "_static" not in path.parts]


def test_a_page_waits_for_one_style_sheet_and_for_that_of_formulas() -> None:
    for page in _pages():
        head = page.read_text().partition("</noscript>")[2]
        names = [re.search(r'_static/([^"?]+)', link)[1] for link in _STYLES.findall(head)]
        assert [name for name in names if name != "vendor/katex/katex.css"] == ["style.css"], page


def test_the_one_style_sheet_holds_those_of_the_theme_the_book_and_the_page_in_this_order() -> None:
    style = (SITE / "_static" / "style.css").read_text()
    theme = ["div.sphinxsidebar", ".bd-header-announcement", 'html[data-theme="light"] .highlight .o']
    marks = [*theme, ".tl-toolbar{", ".sd-sphinx-override", "--tl-measure:"]
    places = [style.index(mark) for mark in marks]
    assert places == sorted(places)
    assert "@import" not in style
    assert not any((SITE / "_static" / name).exists() for name in ("basic.css", "book.css", "page.css"))


def test_a_joined_sheet_takes_its_imports_in_and_keeps_addresses_right(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "base.css").write_text("a { background: url(dot.png) }")
    (tmp_path / "deep" / "theme.css").write_text(
        "@import '../base.css';b { background: url('../x.png'), url(\"near.svg\"), url(data:image/png;base64,AA) }"
    )
    assert joined(tmp_path, [tmp_path / "deep" / "theme.css", tmp_path / "base.css"]) == (
        "a { background: url(dot.png) }b { background: url(x.png), url(deep/near.svg), url(data:image/png;base64,AA) }"
        "\na { background: url(dot.png) }"
    )


def test_a_missing_sheet_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ExtensionError, match=r"style sheet missing: expected .*gone\.css, got no file"):
        joined(tmp_path, [tmp_path / "gone.css"])


def test_code_carries_marks_only_where_a_theme_colours_it() -> None:
    bridge = PygmentsBridge("html")
    bridge.formatter = QuietFormatter
    html = bridge.highlight_block("model = tlab.load('x')", "python")
    assert re.sub(r"<[^>]+>", "", html).strip() == "model = tlab.load('x')"
    assert re.findall(r'<span class="(\w+)">([^<]+)', html) == [("o", "="), ("o", "."), ("s1", "'x'")]


@pytest.mark.parametrize("option", ["pygments_light_style", "pygments_dark_style"])
def test_what_stands_without_marks_has_the_colour_of_text_in_both_themes(option: str) -> None:
    style = get_style_by_name(str(html_theme_options[option]))
    plain = style.style_for_token(Text)
    assert all(style.style_for_token(kind) == plain for kind in (Name, Punctuation))


def test_the_theme_s_scripts_stand_still_in_the_page() -> None:
    page = (SITE / "lessons" / "tour.html").read_text()
    inert = re.search(r'<template id="tl-theme-scripts">(.*?)</template>', page, re.DOTALL)
    assert inert
    assert re.findall(r'src="\.\./(_static/scripts/[\w-]+\.js)', inert[1]) == [
        "_static/scripts/bootstrap.js",
        "_static/scripts/pydata-sphinx-theme.js",
    ]
    assert "scripts/" not in page.replace(inert[0], "")


def test_what_the_scripts_put_under_a_title_has_its_place() -> None:
    # The search page is the template's own, and has nothing of the kind.
    for page in (page for page in _pages() if page.name != "search.html"):
        text = page.read_text()
        assert text.count('</h1><div class="tl-under-title"></div>') == 1, page
