"""Every kind of output in real browsers: live against the real service, stored, and opened from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kitchen_sink import LIVE_MS, cell_under, output_of, run, run_code, start_code
from playwright.sync_api import expect
from watched_page import Watched

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


STORED_AND_LIVE = {
    "Streams": "two",
    "Cleared and updated": "20 %",
    "HTML": "bold and italic",
    "Tables": "Rome",
    "Errors": "ZeroDivisionError",
}


@pytest.mark.firefox
@pytest.mark.parametrize("mode", ["stored", "live"])
@pytest.mark.parametrize(("heading", "words"), STORED_AND_LIVE.items())
def test_texts(sink: Watched, heading: str, words: str, mode: str) -> None:
    cell = cell_under(sink.page, heading)
    output = run(cell, "error" if heading == "Errors" else "live") if mode == "live" else cell.locator(".cell_output")
    expect(output).to_contain_text(words)
    sink.assert_clean()


@pytest.mark.firefox
def test_a_slider_reaches_python_and_a_linked_widget(sink: Watched) -> None:
    output = run(cell_under(sink.page, "Widgets"))
    handle = output.get_by_role("slider", name="Layer")
    handle.focus()
    sink.page.keyboard.press("ArrowRight")
    expect(output).to_contain_text("doubled: 8")
    expect(output.get_by_label("Same")).to_have_value("4")
    again = run(cell_under(sink.page, "Widgets"))
    expect(again.get_by_label("Same")).to_have_value("3")
    sink.assert_clean()


@pytest.mark.firefox
def test_interact_draws_its_function_again_with_the_books_own_renderers(sink: Watched) -> None:
    output = run(cell_under(sink.page, "Interact"))
    expect(output).to_contain_text("square 16")
    output.get_by_role("slider", name="n", exact=True).focus()
    sink.page.keyboard.press("ArrowRight")
    expect(output).to_contain_text("square 25")
    expect(output).not_to_contain_text("square 16")
    expect(output.locator("table.dataframe td", has_text="25")).to_be_visible()
    sink.assert_clean()


@pytest.mark.firefox
def test_what_a_button_prints_stands_below_it(sink: Watched) -> None:
    output = run(cell_under(sink.page, "Buttons"))
    button = output.get_by_role("button", name="Count")
    button.click()
    button.click()
    expect(output).to_contain_text("pressed 2")
    sink.assert_clean()


@pytest.mark.firefox
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


@pytest.mark.firefox
@pytest.mark.parametrize("mode", ["stored", "live"])
def test_a_precomputed_slider_moves(sink: Watched, mode: str) -> None:
    cell = cell_under(sink.page, "Grid")
    output = output_of(cell, mode)
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


@pytest.mark.firefox
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
    expect(cell_under(page, "Live figure").locator(".js-plotly-plot .gtitle")).to_have_text("peak 3")
    button = cell_under(page, "Anywidget").frame_locator("iframe").get_by_role("button")
    button.click()
    expect(button).to_have_text("count is 6")
    expect(cell_under(page, "A widget from elsewhere").locator(".cell_output")).to_contain_text("cannot be shown here")
    watched.assert_clean()
    context.close()


@pytest.mark.firefox
@pytest.mark.parametrize("mode", ["stored", "live"])
def test_a_table_is_sorted_by_its_headers_from_the_keyboard(sink: Watched, mode: str) -> None:
    cell = cell_under(sink.page, "Tables")
    output = output_of(cell, mode)
    words = output.locator("tbody td:nth-child(2)")
    expect(words).to_have_text(["Rome", "Paris", "Oslo"])
    output.get_by_role("button", name="n", exact=True).focus()
    sink.page.keyboard.press("Enter")
    expect(words).to_have_text(["Oslo", "Rome", "Paris"])
    expect(output.get_by_role("columnheader", name="n", exact=True)).to_have_attribute("aria-sort", "ascending")
    sink.page.keyboard.press("Enter")
    expect(words).to_have_text(["Paris", "Rome", "Oslo"])
    sink.assert_clean()


@pytest.mark.firefox
@pytest.mark.parametrize("mode", ["stored", "live"])
def test_pictures_and_figures(sink: Watched, mode: str) -> None:
    for heading, selector in (("SVG", "img, svg"), ("PNG", "img"), ("Figures", ".js-plotly-plot .main-svg")):
        cell = cell_under(sink.page, heading)
        output = output_of(cell, mode)
        cell.scroll_into_view_if_needed()
        if heading == "Figures":
            output.locator(".tl-figure").hover()
        expect(output.locator(selector).first).to_be_attached(timeout=LIVE_MS)
    scripted = cell_under(sink.page, "HTML that brings scripts")
    output = run(scripted) if mode == "live" else scripted.locator(".cell_output")
    scripted.scroll_into_view_if_needed()
    expect(output.frame_locator("iframe").locator("#made")).to_have_text("after", timeout=LIVE_MS)
    assert sink.page.title() != "1", "the SVG's onload ran"
    sink.assert_clean()


@pytest.mark.firefox
def test_input_asks_in_the_page(sink: Watched) -> None:
    page = sink.page
    code = "import getpass\nname = input('Who? ')\nkey = getpass.getpass('Key: ')\nprint(name.upper(), len(key))"
    cell = start_code(page, code)
    field = cell.get_by_label("Who?")
    expect(field).to_be_visible(timeout=LIVE_MS)
    field.fill("Ada")
    page.keyboard.press("Enter")
    secret = cell.get_by_label("Key:")
    expect(secret).to_have_attribute("type", "password")
    secret.fill("hidden")
    page.keyboard.press("Enter")
    expect(cell).to_have_attribute("data-state", "live", timeout=LIVE_MS)
    expect(cell.locator(".cell_output")).to_contain_text("ADA 6")
    expect(cell.locator(".cell_output")).not_to_contain_text("hidden")
    sink.assert_clean()


@pytest.mark.firefox
def test_interrupt_ends_a_question(sink: Watched) -> None:
    cell = start_code(sink.page, "input('Well? ')")
    expect(cell.get_by_label("Well?")).to_be_visible(timeout=LIVE_MS)
    cell.get_by_role("button", name="Interrupt").click()
    expect(cell.locator(".cell_output")).to_contain_text("Well? (not answered)", timeout=LIVE_MS)
    expect(cell.locator(".cell_output")).to_contain_text("Interrupted")
    expect(run_code(sink.page, "print(6 * 7)")).to_contain_text("42")
    sink.assert_clean()


def test_five_megabytes_of_text_leave_the_page_usable(sink: Watched) -> None:
    output = run_code(sink.page, "for _ in range(50):\n    print('x' * 100_000)\nprint('the end')")
    expect(output).to_contain_text("left out", timeout=LIVE_MS)
    assert len(output.inner_text()) < 600_000
    expect(run_code(sink.page, "print(6 * 7)")).to_contain_text("42")
    sink.assert_clean()


@pytest.mark.firefox
def test_a_live_figure_follows_a_slider_on_the_pages_own_plotly(sink: Watched) -> None:
    page = sink.page
    output = run(cell_under(page, "Live figure"))
    title = output.locator(".js-plotly-plot .gtitle")
    expect(title).to_have_text("peak 3", timeout=LIVE_MS)
    output.get_by_role("slider", name="Peak").focus()
    page.keyboard.press("ArrowRight")
    expect(title).to_have_text("peak 4")
    assert page.locator("script[src*=plotly]").count() == 1
    sink.assert_clean()


def test_a_figure_widget_is_refused_with_a_way_out(sink: Watched) -> None:
    output = run_code(sink.page, "go.FigureWidget(go.Scatter(y=[1, 2]))")
    expect(output).to_contain_text("use go.Figure", ignore_case=True)
    expect(run_code(sink.page, "print(6 * 7)")).to_contain_text("42")
    sink.assert_clean()


def test_a_widget_says_that_its_kernel_is_gone(sink: Watched) -> None:
    page = sink.page
    output = run(cell_under(page, "Widgets"))
    start_code(page, "import os; os._exit(1)")
    expect(output).to_contain_text("The kernel behind this is gone", timeout=LIVE_MS)
    output.get_by_role("slider", name="Layer").focus()
    page.keyboard.press("ArrowRight")
    expect(output.get_by_label("Same")).to_have_value("4")
    assert sink.errors == []
