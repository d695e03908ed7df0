"""Outputs that need a script: inert in the page, with their text twin, and unable to end their own element early."""

from __future__ import annotations

import json
import re
from html import unescape
from types import SimpleNamespace

import pytest

from benchmarks.served_book import SITE
from book.extensions.mime import GRID, PLOTLY, WIDGET, FigureRenderer

# A figure's picture stands in an element of its own, before the twin.
OUTPUT = re.compile(
    r'<div class="tl-output" data-mime="([^"]+)"><script type="application/json">(.*?)</script>'
    r'((?:<div class="tl-figure.*?</div>)?.*?)</div>',
    re.DOTALL,
)
PICTURED = re.compile(
    r'<div class="tl-figure tl-picture"[^>]*>.*</div>'
    r'<details class="tl-twin-details"><summary>As text</summary>(<pre class="tl-twin".*</pre>)</details>',
    re.DOTALL,
)


def rendered(mime_type: str, content: object) -> str | None:
    text = content if isinstance(content, str) else json.dumps(content)
    nodes = FigureRenderer.handle_mime(None, SimpleNamespace(mime_type=mime_type, content=content, string=text), False)  # noqa: FBT003  MyST-NB's protocol
    return nodes[0].astext() if nodes else None


@pytest.mark.parametrize(
    "html",
    [
        "<script>alert(1)</script>",
        '<img src=x onerror="alert(1)">',
        "<iframe src='https://example.org'></iframe>",
        '<a href="javascript:alert(1)">x</a>',
        "<SCRIPT\n>alert(1)</SCRIPT>",
    ],
)
def test_html_that_could_run_something_becomes_inert_data(html: str) -> None:
    drawn = rendered("text/html", html)
    assert drawn is not None
    match = OUTPUT.fullmatch(drawn)
    assert match is not None
    assert json.loads(match[2]) == html
    assert "<" not in match[2]


def test_plain_html_is_left_to_myst_nb() -> None:
    assert rendered("text/html", "<table><tr><td>1</td></tr></table>") is None


@pytest.mark.parametrize("mime_type", [WIDGET, GRID])
def test_widgets_and_grids_become_inert_data(mime_type: str) -> None:
    content = {"model_id": "</script><b>"}
    drawn = rendered(mime_type, content)
    assert drawn is not None
    match = OUTPUT.fullmatch(drawn)
    assert match is not None
    assert match[1] == mime_type
    assert json.loads(match[2]) == content


def test_javascript_is_left_to_the_frame() -> None:
    drawn = rendered("application/javascript", "document.title = '</script>'")
    assert drawn is not None
    match = OUTPUT.fullmatch(drawn)
    assert match is not None
    assert match[1] == "text/html"
    assert json.loads(match[2]) == r"<script>document.title = '<\/script>'</script>"


def test_markdown_that_could_run_something_is_left_to_the_sanitiser() -> None:
    assert rendered("text/markdown", "**bold** and $x$") is None
    drawn = rendered("text/markdown", "<img src=x onerror=alert(1)>")
    assert drawn is not None
    assert 'data-mime="text/markdown"' in drawn


def test_a_figure_cannot_close_its_own_script_element() -> None:
    figure = {"layout": {"title": {"text": "</script><script>alert(1)</script><!--"}}, "data": []}
    drawn = rendered(PLOTLY, figure)
    assert drawn is not None
    match = OUTPUT.fullmatch(drawn)
    assert match is not None
    assert json.loads(match[2]) == figure
    assert "<" not in match[2]


@pytest.mark.parametrize("lesson", ["tour", "ablation"])
def test_every_drawn_output_of_a_built_lesson_has_its_text_twin(lesson: str) -> None:
    page = (SITE / "lessons" / f"{lesson}.html").read_text()
    outputs = OUTPUT.findall(page)
    assert len(outputs) >= 3
    assert len(outputs) == page.count('class="tl-output"')
    for mime_type, data, rest in outputs:
        assert mime_type in {PLOTLY, GRID, WIDGET, "text/html"}
        json.loads(data)
        pictured = PICTURED.fullmatch(rest)
        assert (pictured is not None) == (mime_type == PLOTLY)
        twin = re.fullmatch(r'<pre class="tl-twin"[^>]*>(.*)</pre>', pictured[1] if pictured else rest, re.DOTALL)
        assert twin is not None, f"no text twin beside {data[:80]}"
        assert len(unescape(twin[1]).split()) > 5
        assert len(data) < 300_000


def test_the_built_site_names_no_foreign_script_or_style() -> None:
    pages = [path for path in SITE.rglob("*.html") if "_static" not in path.parts]
    assert len(pages) >= 10
    for page in pages:
        markup = re.sub(r'<script type="application/json">.*?</script>', "", page.read_text(), flags=re.DOTALL)
        loaded = re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(https?:[^"]+|//[^"]+)"', markup)
        assert loaded == [], page
