"""Formulas of the kitchen sink in headless Chromium: stored and live, wide, wrong, and those that reach too far."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from kitchen_sink import LIVE_MS, cell_under, output_of, run_code
from playwright.sync_api import expect

if TYPE_CHECKING:
    from watched_page import Watched

pytestmark = pytest.mark.browser


@pytest.mark.firefox
@pytest.mark.parametrize("mode", ["stored", "live"])
def test_formulas_and_markdown_are_set(sink: Watched, mode: str) -> None:
    latex, markdown = (cell_under(sink.page, heading) for heading in ("LaTeX", "Markdown"))
    for cell in (latex, markdown):
        output = output_of(cell, mode)
        expect(output.locator(".katex-html").first).to_be_visible(timeout=LIVE_MS)
        expect(output.locator("math").first).to_be_attached()
    asked = sink.page.locator("script[src*=formulas]").count()
    assert asked == (mode == "live"), "a stored formula needs no script, and a live one needs one"
    expect(markdown.locator(".cell_output strong")).to_have_text("Bold")
    expect(markdown.locator(".cell_output td").first).to_have_text("1")
    sink.assert_clean()


@pytest.mark.parametrize(
    "tex",
    [
        r"\rule{9999em}{9999em}",
        r"\raisebox{9999em}{\rule{9em}{9em}}",
        r"\raisebox{-40em}{\raisebox{-40em}{\rule{9em}{9em}}}",
        r"\hspace{-60em}\rule{90em}{1em}",
    ],
)
@pytest.mark.parametrize("kind", ["Latex", "Markdown"])
def test_a_formula_covers_nothing_outside_its_output(sink: Watched, kind: str, tex: str) -> None:
    page = sink.page
    output = run_code(page, f"{kind}(r'beside $x$: ${tex}$')")
    expect(output.locator(".katex-html")).to_have_count(2)
    assert page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    above, below = cell_under(page, "Scratch").locator(".tl-toolbar"), page.locator("footer").last
    for place in (above, below):
        place.scroll_into_view_if_needed()
        covered = place.evaluate(
            """place => { const box = place.getBoundingClientRect();
              const seen = document.elementFromPoint(box.x + 20, box.y + box.height / 2);
              return !!seen?.closest(".katex"); }"""
        )
        assert not covered
    sink.assert_clean()


def test_a_live_formula_that_cannot_be_set_stays_as_typed_and_says_why(sink: Watched) -> None:
    output = run_code(sink.page, r"Markdown(r'Here $\nosuch{x}$, there $y$.')")
    kept = output.locator(".tl-unset")
    expect(kept).to_have_text(r"\(\nosuch{x}\)")
    expect(kept).to_have_attribute("title", re.compile(r"^Formula not set: Undefined control sequence: \\nosuch"))
    expect(output.locator(".katex-html")).to_have_count(1)
    sink.assert_clean()


def test_a_wide_formula_scrolls_in_its_own_box_and_by_keyboard(sink: Watched) -> None:
    page = sink.page
    page.set_viewport_size({"width": 390, "height": 844})
    page.reload()
    stored = page.locator("div.math .katex-display").first
    wide = r"$$" + " + ".join(rf"\frac{{a_{n}}}{{b_{n}}}" for n in range(40)) + "$$"
    live = run_code(page, f"Markdown({wide!r})").locator(".katex-display")
    for box in (stored, live):
        expect(box).to_have_attribute("tabindex", "0")
        assert box.evaluate("box => box.scrollLeft") == 0, "a formula is read from its beginning"
        box.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function("box => box.scrollLeft > 0", arg=box.element_handle())
    assert page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    sink.assert_clean()
