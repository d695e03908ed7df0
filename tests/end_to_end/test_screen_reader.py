"""What a listener gets of a lesson: the order and the names in the accessibility tree, and what is read out unasked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from watched_page import press_still

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from watched_page import Watched

pytestmark = pytest.mark.browser

LIVE_MS = 60_000
FIGURE = 2  # the first cell of the tour with a figure
# Note every word that a live region takes up from now on, as a screen reader would read it out.
LISTEN = """() => {
  window.heard = [];
  const live = "[role=status], [role=alert], [aria-live]";
  const region = node => (node instanceof Element ? node : node.parentElement)?.closest(live);
  new MutationObserver(changes => {
    for (const found of new Set(changes.map(change => region(change.target)))) {
      if (!found || found.getAttribute("aria-live") === "off") continue;
      const words = found.textContent.trim();
      if (words && window.heard.at(-1) !== words) window.heard.push(words);
    }
  }).observe(document.body, { childList: true, subtree: true, characterData: true });
}"""


def open_tour(page: Page, address: str) -> None:
    page.goto(address + "lessons/tour.html")
    page.evaluate("() => window.tlHydrateAll()")


def in_order(text: str, *parts: str) -> None:
    """Fail unless the parts follow each other in the text."""
    at = 0
    for part in parts:
        found = re.compile(part).search(text, at)
        assert found, f"expected {part!r} after {text[max(0, at - 80) : at]!r} in\n{text}"
        at = found.end()


def test_a_cell_is_heard_as_code_buttons_state_and_output_before_and_after_a_run(
    watched: Watched, address: str
) -> None:
    page = watched.page
    open_tour(page, address)
    cell = page.get_by_role("group", name=f"Cell {FIGURE}", exact=True)
    output = cell.get_by_role("group", name=f"Output of cell {FIGURE}")
    figure = output.get_by_role("group", name=re.compile(r"^Interactive figure: .+Paris"))
    before = [f'group "Cell {FIGURE}"', "tlab.predict", f'button "Run cell {FIGURE}"', "status: stored output"]
    after = [f'group "Output of cell {FIGURE}"', r'group "Interactive figure: .*Paris', "As text"]
    in_order(cell.aria_snapshot(), *before, *after)
    press_still(cell.get_by_role("button", name=f"Run cell {FIGURE}"))
    expect(cell.get_by_role("status")).to_have_text("live output", timeout=LIVE_MS)
    expect(figure).to_be_visible(timeout=LIVE_MS)
    in_order(cell.aria_snapshot(), *before[:-1], "status: live output", *after)
    twin = output.get_by_text("As text")
    twin.focus()
    page.keyboard.press("Enter")
    expect(output.get_by_text("Paris").first).to_be_visible()
    watched.assert_clean()


def test_a_run_is_read_out_once_with_the_start_of_the_kernel(watched: Watched, address: str) -> None:
    page = watched.page
    open_tour(page, address)
    kernel = page.get_by_role("group", name="Kernel")
    expect(kernel.get_by_role("status").first).to_have_text("Cells are live: press Run.")
    page.evaluate(LISTEN)
    cell = page.get_by_role("group", name=f"Cell {FIGURE}", exact=True)
    cell.get_by_role("button", name=f"Run cell {FIGURE}").press("Enter")
    expect(cell.get_by_role("status")).to_have_text("live output", timeout=LIVE_MS)
    expect(kernel.get_by_role("status").first).to_have_text("Kernel ready")
    heard = page.evaluate("() => window.heard")
    assert heard.count("Starting a kernel…") == 1, heard
    # The first cell of the page runs before the one that was asked for.
    assert heard.count("live output") <= 2, heard
    assert heard[-1] == "live output", heard
    assert len(heard) <= 8, heard


def test_an_error_is_read_out_once_and_stands_in_the_output(watched: Watched, address: str) -> None:
    page = watched.page
    open_tour(page, address)
    cell = page.get_by_role("group", name="Cell 1", exact=True)
    press_still(cell.locator("pre").first)
    page.keyboard.press("Control+a")
    page.keyboard.type("1 / 0")
    page.evaluate(LISTEN)
    page.keyboard.press("Shift+Enter")
    expect(cell).to_have_attribute("data-state", "error", timeout=LIVE_MS)
    output = cell.get_by_role("group", name="Output of cell 1")
    expect(output).to_contain_text("ZeroDivisionError: division by zero")
    in_order(
        cell.aria_snapshot(), 'textbox "', 'button "Run cell 1"', "status: .*ZeroDivisionError", "Output of cell 1"
    )
    heard = page.evaluate("() => window.heard")
    assert sum("ZeroDivisionError" in words for words in heard) == 1, heard


def test_a_place_without_output_is_no_stop_on_the_way(watched: Watched, address: str) -> None:
    open_tour(watched.page, address)
    expect(watched.page.get_by_role("group", name="Output of cell 1", exact=True)).to_have_count(0)
