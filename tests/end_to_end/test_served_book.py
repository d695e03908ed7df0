"""The served book in headless Chromium, as a reader meets it: pages, live cells, outputs, chat."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from watched_page import press_still, write_code

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page
    from watched_page import Watched

pytestmark = pytest.mark.browser

LIVE_MS = 60_000


def cell_with(page: Page, code: str) -> Locator:
    """Return the first code cell whose source holds `code`."""
    return page.locator("div.cell", has=page.locator(".cell_input", has_text=code)).first


def run_live(cell: Locator) -> None:
    press_still(cell.get_by_role("button", name=re.compile("^Run")).first)
    expect(cell).to_have_attribute("data-state", "live", timeout=LIVE_MS)


@pytest.mark.parametrize(
    "path",
    ["", "lab.html", "lessons/tour.html", "lessons/ablation.html", "book/glossary.html", "book/errors.html"]
    + [
        f"kb/documents/{name}.html"
        for name in (
            "what-a-transformer-is",
            "self-attention",
            "residual-stream-and-norms",
            "reading-the-logit-lens",
            "reading-ablations-and-patches",
        )
    ],
)
def test_every_page_opens_without_a_foreign_request_or_an_error(watched: Watched, address: str, path: str) -> None:
    page = watched.page
    page.goto(address + path, wait_until="networkidle")
    page.evaluate("() => window.tlHydrateAll()")
    expect(page.locator("h1").first).to_be_visible()
    assert page.locator(".math").count() == page.locator(".math .katex").count(), "maths that stayed raw"
    assert page.locator("script[src*=formulas]").count() == 0, "a page needs no script for its formulas"
    watched.assert_clean()


@pytest.mark.firefox
def test_no_page_is_wider_than_a_phone(watched: Watched, address: str) -> None:
    page = watched.page
    page.set_viewport_size({"width": 390, "height": 844})
    for path in ("", "lessons/tour.html", "lessons/ablation.html", "book/glossary.html"):
        page.goto(address + path, wait_until="networkidle")
        page.evaluate("() => window.tlHydrateAll()")
        overflow = page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"{path or 'index'} scrolls sideways by {overflow} px"


@pytest.mark.firefox
def test_a_cell_runs_live_and_an_edited_cell_gives_another_result(watched: Watched, address: str) -> None:
    page = watched.page
    page.goto(address + "lessons/tour.html")
    cell = cell_with(page, "tlab.predict(model")
    expect(cell).to_have_attribute("data-state", "stored")
    run_live(cell)
    output = cell.locator(".cell_output")
    expect(output.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=LIVE_MS)
    write_code(page, cell, 'print(tlab.predict(model, "The capital of Italy is").token, 6 * 7)')
    run_live(cell)
    expect(output).to_contain_text("Rome 42", timeout=LIVE_MS)
    cell.get_by_role("button", name="Reset").click()
    expect(cell).to_have_attribute("data-state", "stored")
    expect(cell.locator(".cell_input")).to_contain_text("tlab.predict(model")
    expect(output.locator(".tl-picture img").first).to_be_visible()
    output.locator(".tl-figure").hover()
    expect(output.locator(".js-plotly-plot .main-svg").first).to_be_visible()
    watched.assert_clean()


@pytest.mark.firefox
def test_every_kind_of_output_renders_live(watched: Watched, address: str) -> None:
    page = watched.page
    page.goto(address + "lessons/tour.html")
    cell = cell_with(page, "tlab.predict(model")
    output = cell.locator(".cell_output")
    kinds = {
        "print('\\x1b[31mred\\x1b[0m', 'one', end='\\rtwo\\n')": ("text", "two"),
        "1 / 0": ("text", "ZeroDivisionError"),
        "import pandas; pandas.DataFrame({'a': [1234]})": ("css", "table td:has-text('1234')"),
        'from IPython.display import SVG; SVG(\'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>\')': (
            "css",
            "svg, img",
        ),
        "import plotly.graph_objects as go; go.Figure(go.Scatter(y=[1, 3, 2]))": ("css", ".js-plotly-plot .main-svg"),
        "tlab.attention(model, 'One two three').head_view(layers=[0])": ("css", "iframe"),
    }
    for code, (kind, expected) in kinds.items():
        write_code(page, cell, code)
        cell.get_by_role("button", name=re.compile("^Run")).first.click()
        expect(cell).to_have_attribute("data-state", re.compile("live|error"), timeout=LIVE_MS)
        if kind == "text":
            expect(output).to_contain_text(expected, timeout=LIVE_MS)
        else:
            expect(output.locator(expected).first).to_be_visible(timeout=LIVE_MS)
    frame = output.frame_locator("iframe")
    expect(frame.locator("svg").first).to_be_visible(timeout=LIVE_MS)
    watched.assert_clean()


@pytest.mark.firefox
def test_the_stored_head_view_is_drawn_by_bertviz_without_a_kernel(watched: Watched, address: str) -> None:
    page = watched.page
    page.goto(address + "lessons/tour.html")
    page.evaluate("() => window.tlHydrateAll()")
    frame = page.frame_locator(".tl-output iframe").first
    expect(frame.locator("svg text").first).to_be_visible(timeout=LIVE_MS)
    expect(frame.locator("select").first).to_be_visible()
    assert page.locator("body").get_attribute("data-kernel") == "idle", "drawing a stored figure starts no kernel"
    watched.assert_clean()


@pytest.mark.firefox
def test_interrupt_ends_an_endless_loop_and_the_kernel_lives_on(watched: Watched, address: str) -> None:
    page = watched.page
    page.goto(address + "lessons/tour.html")
    cell = cell_with(page, "tlab.predict(model")
    write_code(page, cell, "while True:\n    pass")
    cell.get_by_role("button", name=re.compile("^Run")).first.click()
    expect(cell).to_have_attribute("data-state", "running", timeout=LIVE_MS)
    cell.get_by_role("button", name="Interrupt").click()
    expect(cell.locator(".cell_output")).to_contain_text("KeyboardInterrupt", timeout=LIVE_MS)
    write_code(page, cell, "model.n_layers")
    run_live(cell)
    expect(cell.locator(".cell_output")).to_contain_text("30", timeout=LIVE_MS)
    watched.assert_clean()


def test_hostile_output_can_neither_read_the_token_nor_touch_the_page(watched: Watched, address: str) -> None:
    page = watched.page
    page.goto(address + "lessons/tour.html")
    cell = cell_with(page, "tlab.predict(model")
    attack = (
        "from IPython.display import HTML\n"
        'HTML(\'<p id="shown">shown</p><img src=x onerror="top.document.title=1">'
        "<script>document.body.append(String(window.origin));"
        'try{parent.document.title="owned"}catch(e){document.body.append(" refused")}\'\n'
        "     '</script>')"
    )
    title = page.title()
    write_code(page, cell, attack)
    run_live(cell)
    frame = cell.locator(".cell_output").frame_locator("iframe")
    expect(frame.locator("body")).to_contain_text("null refused", timeout=LIVE_MS)
    assert page.title() == title
    assert watched.foreign == []


def test_the_exercise_is_judged_in_the_page(watched: Watched, address: str) -> None:
    page = watched.page
    page.goto(address + "lessons/ablation.html")
    cell = cell_with(page, "the-head-that-reads-france")
    output = cell.locator(".cell_output")
    for answer, verdict in (("L23H5", "Not yet"), ("L23H4", "Right")):
        code = f'import tlab\ntlab.exercises.check("ablation/the-head-that-reads-france", "{answer}")'
        write_code(page, cell, code)
        run_live(cell)
        expect(output).to_contain_text(verdict, timeout=LIVE_MS)
    watched.assert_clean()


@pytest.mark.firefox
def test_the_chat_answers_with_a_citation_that_leads_to_its_section(watched: Watched, address: str) -> None:
    page = watched.page
    page.goto(address + "lessons/tour.html")
    page.get_by_role("button", name=re.compile("ask|chat", re.IGNORECASE)).first.click()
    panel = page.get_by_role("dialog")
    panel.get_by_role("textbox").fill("What does the logit lens show?")
    page.keyboard.press("Enter")
    link = panel.locator("a[href*='.html#']").first
    expect(link).to_be_visible(timeout=LIVE_MS)
    expect(panel).to_contain_text(re.compile("layer", re.IGNORECASE))
    target = str(link.evaluate("link => link.href"))
    assert target.startswith(address)
    response = page.goto(target)
    assert response is not None
    assert response.status == 200
    anchor = target.split("#")[1]
    expect(page.locator(f"[id='{anchor}']").first).to_be_attached()
    watched.assert_clean()


def test_two_readers_do_not_see_each_others_kernels(watched: Watched, address: str) -> None:
    request = watched.page.request
    first, second = (request.post(address + "api/reader").json()["token"] for _ in range(2))
    headers = [{"Authorization": f"token {token}"} for token in (first, second)]
    made = request.post(address + "api/kernels", headers=headers[0], data={"name": "tlab"})
    assert made.status == 201
    kernel = made.json()["id"]
    assert request.get(f"{address}api/kernels/{kernel}", headers=headers[0]).status == 200
    assert request.get(f"{address}api/kernels/{kernel}", headers=headers[1]).status == 404
    assert request.get(f"{address}api/kernels", headers=headers[1]).json() == []
    for closed in ("api/contents", "api/terminals", "api/sessions", "lab", "tree", "login"):
        assert request.get(address + closed, headers=headers[0]).status == 404, closed
    assert request.delete(f"{address}api/kernels/{kernel}", headers=headers[0]).status == 204


def test_the_lessons_slider_moves_without_a_kernel_and_its_figure_follows_one(watched: Watched, address: str) -> None:
    page = watched.page
    page.goto(f"{address}lessons/ablation.html")
    stored = cell_with(page, "tlab.views.grid(without")
    stored.scroll_into_view_if_needed()
    title = stored.locator(".js-plotly-plot .gtitle")
    expect(title).to_have_text("L12H0 ablated (zero)", timeout=LIVE_MS)
    stored.get_by_role("slider", name="head").focus()
    page.keyboard.press("ArrowRight")
    expect(title).to_have_text("L12H1 ablated (zero)")
    stored.get_by_role("combobox", name="prompt").select_option(index=1)
    expect(stored.locator(".js-plotly-plot")).to_contain_text("Mary")
    assert page.locator("body").get_attribute("data-kernel") == "idle"
    for code in ("return tlab.ablate(model, prompt", "tlab.views.live_figure("):
        run_live(cell_with(page, code))
    live = cell_with(page, "tlab.views.live_figure(")
    expect(live.locator(".js-plotly-plot .gtitle")).to_have_text("L12H0 ablated (zero)", timeout=LIVE_MS)
    live.get_by_role("slider", name="Head").focus()
    page.keyboard.press("ArrowRight")
    expect(live.locator(".js-plotly-plot .gtitle")).to_have_text("L12H1 ablated (zero)", timeout=LIVE_MS)
    watched.assert_clean()
