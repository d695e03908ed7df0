"""Every kind of output in headless Chromium: live against the real service, stored, and hostile."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import kitchen_sink
import pytest
from playwright.sync_api import expect
from watched_page import Watched

from benchmarks.served_book import served_book

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.browser

LIVE_MS = 60_000


@pytest.fixture(scope="module")
def kitchen() -> Path:
    return kitchen_sink.build()


@pytest.fixture(scope="module")
def kitchen_address(kitchen: Path) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        with served_book(Path(folder), site=kitchen) as url:
            yield url


@pytest.fixture
def sink(browser: Browser, kitchen_address: str) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    watched = Watched(context.new_page(), kitchen_address)
    watched.page.goto(kitchen_address)
    yield watched
    context.close()


def cell_under(page: Page, heading: str) -> Locator:
    return page.locator(f"section#{heading.lower().replace(' ', '-')} div.cell")


def run(cell: Locator, state: str = "live") -> Locator:
    cell.get_by_role("button", name=re.compile("^Run")).first.click()
    expect(cell).to_have_attribute("data-state", state, timeout=LIVE_MS)
    return cell.locator(".cell_output")


def run_code(page: Page, code: str, state: str = "live") -> Locator:
    """Run `code` in the scratch cell; the setup cell has imported what it needs."""
    cell = cell_under(page, "Scratch")
    editor = cell.locator(".cm-content")
    if not editor.is_visible():
        cell.locator(".cell_input pre").first.click()
    editor.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(code)
    return run(cell, state)


STORED_AND_LIVE = {
    "Streams": "two",
    "Cleared and updated": "20 %",
    "HTML": "bold and italic",
    "Tables": "Rome",
    "Errors": "ZeroDivisionError",
}


@pytest.mark.parametrize("mode", ["stored", "live"])
@pytest.mark.parametrize(("heading", "words"), STORED_AND_LIVE.items())
def test_texts(sink: Watched, heading: str, words: str, mode: str) -> None:
    cell = cell_under(sink.page, heading)
    output = run(cell, "error" if heading == "Errors" else "live") if mode == "live" else cell.locator(".cell_output")
    expect(output).to_contain_text(words)
    sink.assert_clean()


def test_a_slider_reaches_python_and_a_linked_widget(sink: Watched) -> None:
    output = run(cell_under(sink.page, "Widgets"))
    handle = output.get_by_role("slider", name="Layer")
    handle.focus()
    sink.page.keyboard.press("ArrowRight")
    expect(output).to_contain_text("doubled: 8")
    expect(output.get_by_label("Same")).to_have_value("4")
    sink.assert_clean()


def test_interact_draws_its_function_again_with_the_books_own_renderers(sink: Watched) -> None:
    output = run(cell_under(sink.page, "Interact"))
    expect(output).to_contain_text("square 16")
    output.get_by_role("slider", name="n", exact=True).focus()
    sink.page.keyboard.press("ArrowRight")
    expect(output).to_contain_text("square 25")
    expect(output).not_to_contain_text("square 16")
    expect(output.locator("table.dataframe td", has_text="25")).to_be_visible()
    sink.assert_clean()


def test_what_a_button_prints_stands_below_it(sink: Watched) -> None:
    output = run(cell_under(sink.page, "Buttons"))
    button = output.get_by_role("button", name="Count")
    button.click()
    button.click()
    expect(output).to_contain_text("pressed 2")
    sink.assert_clean()


def test_an_anywidget_counts_in_its_frame_and_in_python(sink: Watched) -> None:
    page = sink.page
    output = run(cell_under(page, "Anywidget"))
    button = output.frame_locator("iframe").get_by_role("button")
    expect(button).to_have_text("count is 5")
    button.click()
    expect(button).to_have_text("count is 6")
    assert "value 6" in run_code(page, "print('value', counter.value)\ncounter.value = 41").inner_text()
    expect(button).to_have_text("count is 41")
    run_code(page, "counter.send({'word': 'hello'})")
    expect(output.frame_locator("iframe").locator("body")).to_contain_text("heard hello")
    sink.assert_clean()


def test_a_widget_from_elsewhere_is_a_sentence_and_the_next_cell_runs(sink: Watched) -> None:
    output = run(cell_under(sink.page, "A widget from elsewhere"))
    expect(output).to_contain_text("Strange of strange-widgets cannot be shown here")
    expect(run_code(sink.page, "print(6 * 7)")).to_contain_text("42")
    sink.assert_clean()


@pytest.mark.parametrize("mode", ["stored", "live"])
def test_a_precomputed_slider_moves(sink: Watched, mode: str) -> None:
    cell = cell_under(sink.page, "Grid")
    output = run(cell) if mode == "live" else cell.locator(".cell_output")
    cell.scroll_into_view_if_needed()
    title = output.locator(".js-plotly-plot .gtitle")
    expect(title).to_have_text("1 in teal", timeout=LIVE_MS)
    output.get_by_role("slider", name="height").focus()
    sink.page.keyboard.press("ArrowRight")
    expect(title).to_have_text("2 in teal")
    output.get_by_role("combobox", name="colour").select_option("plum")
    expect(title).to_have_text("2 in plum")
    if mode == "stored":
        assert sink.page.locator("body").get_attribute("data-kernel") == "idle"
    sink.assert_clean()


def test_stored_widgets_live_without_a_kernel_and_from_a_file(browser: Browser, kitchen: Path) -> None:
    context = browser.new_context(offline=True)
    page = context.new_page()
    watched = Watched(page, kitchen.as_uri())
    page.goto((kitchen / "index.html").as_uri())
    page.evaluate("() => window.tlHydrateAll()")
    widgets = cell_under(page, "Widgets").locator(".cell_output")
    widgets.get_by_role("slider", name="Layer").focus()
    page.keyboard.press("ArrowRight")
    expect(widgets.get_by_label("Same")).to_have_value("4")  # linked in the page
    expect(widgets).to_contain_text("computes nothing without a kernel")
    expect(cell_under(page, "Interact").locator(".cell_output")).to_contain_text("square 16")
    button = cell_under(page, "Anywidget").frame_locator("iframe").get_by_role("button")
    button.click()
    expect(button).to_have_text("count is 6")
    expect(cell_under(page, "A widget from elsewhere").locator(".cell_output")).to_contain_text("cannot be shown here")
    watched.assert_clean()
    context.close()
