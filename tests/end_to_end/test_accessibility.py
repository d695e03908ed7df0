"""axe-core on every kind of page, light and dark, before and after a run: nothing against WCAG 2.2 AA.

The script comes from the front end's development packages and is put into the page by the test alone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect
from watched_page import Watched, write_code

from benchmarks.served_book import SITE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

ROOT = SITE.as_uri() + "/"
AXE = Path(__file__).parents[2] / "book" / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PAGES = {
    "front": "index.html",
    "lab": "lab.html",
    "lesson": "lessons/tour.html",
    "second lesson": "lessons/ablation.html",
    "how-to": "book/how-to/logit_lens.html",
    "how-to with widgets": "book/how-to/views.html",
    "how-to index": "book/how-to/index.html",
    "reference": "book/reference/looking.html",
    "glossary": "book/glossary.html",
    "errors": "book/errors.html",
    "background": "kb/documents/self-attention.html",
    "search": "search.html?q=attention",
}
LIVE_MS = 60_000


@pytest.fixture(params=["light", "dark"])
def theme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def page(browser: Browser, theme: str) -> Iterator[Page]:
    # Transitions would let axe measure colours on their way.
    context = browser.new_context(
        viewport={"width": 1280, "height": 900},
        color_scheme=theme,  # type: ignore[arg-type]
        reduced_motion="reduce",
    )
    yield context.new_page()
    context.close()


def violations(page: Page, within: str | None = None) -> list[str]:
    """Run axe over the page, or the part of it that `within` selects, and say what it found and where."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE.read_text())
    # pandas leaves the corner of its tables empty, and so do all that show them.
    rules = {"empty-table-header": {"enabled": False}}
    options = {"rules": rules, "runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}
    found: dict[str, Any] = page.evaluate(
        "([where, options]) => axe.run(where ? {include: [[where]]} : document, options)", [within, options]
    )
    return [
        f"{rule['id']}: {node['target']} {node['html'][:160]} {node['failureSummary'][:300]}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


def open_fully(page: Page, path: str) -> None:
    page.goto(ROOT + path)
    page.wait_for_load_state("networkidle")
    page.evaluate("() => window.tlHydrateAll()")
    page.evaluate("() => document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    page.wait_for_timeout(300)


@pytest.mark.parametrize("kind", PAGES)
def test_axe_finds_nothing_on_a_page(page: Page, kind: str) -> None:
    open_fully(page, PAGES[kind])
    assert violations(page) == []


@pytest.mark.parametrize(("key", "name"), [("/", "Search"), ("g", "Glossary"), ("?", "Keys")])
def test_axe_finds_nothing_in_a_dialog(page: Page, key: str, name: str) -> None:
    page.goto(ROOT + "lessons/tour.html")
    page.keyboard.press(key)
    dialog = page.get_by_role("dialog", name=name)
    expect(dialog).to_be_visible()
    if key == "/":
        dialog.get_by_role("searchbox").fill("head")
        expect(dialog.locator("a").first).to_be_visible()
    assert violations(page, "dialog[open]") == []


def test_axe_finds_nothing_on_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_fully(page, "lessons/tour.html")
    assert violations(page) == []


def test_axe_finds_nothing_on_a_shown_definition(page: Page) -> None:
    page.goto(ROOT + "lessons/tour.html")
    page.locator("a.tl-term").first.hover()
    expect(page.get_by_role("tooltip")).to_be_visible()
    assert violations(page) == []


def test_axe_finds_nothing_on_a_line_wider_than_its_editor(page: Page, address: str) -> None:
    page.goto(address + "lessons/tour.html")
    cell = page.locator("div.cell").nth(1)
    write_code(page, cell, "wide = '" + 400 * "x" + "'")
    assert violations(page) == []


@pytest.mark.parametrize("path", ["lessons/tour.html", "book/errors.html"])
def test_axe_finds_nothing_after_a_run(page: Page, address: str, path: str) -> None:
    seen = Watched(page, address)
    page.goto(address + path)
    page.wait_for_load_state("networkidle")
    runs = page.get_by_role("button", name=re.compile("^Run( |$)"))
    page.get_by_role("button", name="Run all").first.click()
    expect(page.locator("div.cell[data-state=queued], div.cell[data-state=running]")).to_have_count(0, timeout=LIVE_MS)
    expect(page.locator("div.cell[data-state=live]")).not_to_have_count(0)
    assert runs.count() > 0
    # An editor with the focus, and a cell that fails.
    page.locator("div.cell .cell_input pre").first.click()
    page.locator(".cm-content").first.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("nothing_such  # a comment")
    page.keyboard.press("Shift+Enter")
    expect(page.locator("div.cell[data-state=error]")).to_have_count(1, timeout=LIVE_MS)
    assert violations(page) == []
    seen.assert_clean()
