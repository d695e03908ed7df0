"""A figure's picture, and the live figure that takes its place when the reader turns to it, in Chromium."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from watched_page import Watched

from benchmarks.served_book import SITE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.browser

LENS = "book/how-to/logit_lens.html"
DRAWN_MS = 20_000
# What moves on the page, and how far: also what follows a hand, which the usual score leaves out.
SHIFTS = """() => {
  window.shifts = [];
  new PerformanceObserver(list => {
    for (const entry of list.getEntries()) window.shifts.push(entry.value);
  }).observe({ type: "layout-shift", buffered: true });
}"""


class Asked(Watched):
    """A watched page that also remembers which scripts of plotly were asked for."""

    def __init__(self, page: Page, origin: str) -> None:
        super().__init__(page, origin)
        self.plotly: list[str] = []
        page.on("request", lambda request: self._note_plotly(request.url))

    def _note_plotly(self, url: str) -> None:
        name = url.rsplit("/", 1)[-1].split("?", maxsplit=1)[0]
        if name in {"plotly.min.js", "plotly-cartesian.min.js"}:
            self.plotly.append(name)


@pytest.fixture
def seen(browser: Browser) -> Iterator[Asked]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    asked = Asked(context.new_page(), SITE.as_uri())
    yield asked
    asked.assert_clean()
    context.close()


def opened(page: Page, path: str = LENS) -> Locator:
    page.goto(f"{SITE.as_uri()}/{path}")
    page.wait_for_load_state("networkidle")
    return page.locator(".tl-output[data-mime*=plotly] .tl-figure").first


def is_loaded(image: Locator) -> bool:
    return bool(image.evaluate("image => image.decode().then(() => image.naturalWidth > 0)"))


@pytest.mark.parametrize(("width", "expected"), [(390, 358), (1280, 804), (1440, 852), (1920, 916)])
def test_without_scripts_a_figure_is_a_picture_as_wide_as_its_place(
    browser: Browser, width: int, expected: int
) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": width, "height": 900})
    page = context.new_page()
    page.goto(f"{SITE.as_uri()}/{LENS}")
    figure = page.locator(".tl-picture").first
    image = figure.locator("img:visible")
    expect(image).to_have_count(1)
    expect(image).to_have_attribute(
        "alt", "Interactive figure: Logit lens: the top token after every layer. The model ends on ' Paris' (77.3 %)."
    )
    box = image.bounding_box()
    assert box
    assert box["width"] == expected
    assert figure.bounding_box() == box
    page.get_by_text("As text").first.click()
    expect(page.locator(".tl-twin").first).to_be_visible()
    context.close()


def test_looking_at_a_page_asks_for_no_plotly(seen: Asked) -> None:
    figure = opened(seen.page, "lessons/tour.html")
    for place in seen.page.locator(".tl-picture").all():
        place.scroll_into_view_if_needed()
        assert is_loaded(place.locator("img:visible"))
    assert seen.plotly == []
    expect(figure).to_have_attribute("tabindex", "0")


@pytest.mark.parametrize("turn", ["pointer", "keyboard"])
def test_the_live_figure_takes_the_pictures_place_and_nothing_moves(seen: Asked, turn: str) -> None:
    page = seen.page
    page.add_init_script(f"({SHIFTS})()")
    figure = opened(page)
    figure.scroll_into_view_if_needed()
    page.evaluate("() => { window.shifts.length = 0; }")
    before = figure.bounding_box()
    height = page.evaluate("() => document.documentElement.scrollHeight")
    if turn == "pointer":
        figure.hover()
    else:
        page.keyboard.press("Tab")
        for _ in range(200):
            if figure.evaluate("place => place === document.activeElement"):
                break
            page.keyboard.press("Tab")
        before = figure.bounding_box()
    expect(figure.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=DRAWN_MS)
    expect(figure.locator("picture")).to_have_count(0)
    assert figure.bounding_box() == before
    assert page.evaluate("() => document.documentElement.scrollHeight") == height
    assert sum(page.evaluate("() => window.shifts")) < 0.01
    assert seen.plotly == ["plotly-cartesian.min.js"]
    if turn == "keyboard":
        assert figure.evaluate("place => place === document.activeElement"), "the focus stays where it was"


def test_a_tap_wakes_a_figure_and_a_finger_that_scrolls_does_not(browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    asked = Asked(context.new_page(), SITE.as_uri())
    figure = opened(asked.page)
    figure.scroll_into_view_if_needed()
    figure.dispatch_event("pointerenter", {"pointerType": "touch"})
    asked.page.wait_for_timeout(300)
    assert asked.plotly == []
    figure.tap()
    expect(figure.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=DRAWN_MS)
    asked.assert_clean()
    context.close()


def test_the_theme_changes_a_picture_by_style_alone_and_a_live_figure_keeps_up(seen: Asked) -> None:
    page = seen.page
    figure = opened(page)
    for theme in ("light", "dark", "light"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
        image = figure.locator("img:visible")
        expect(image).to_have_count(1)
        assert is_loaded(image)
        assert str(image.evaluate("image => image.currentSrc")).endswith(f"-{theme}.svg")
    figure.hover()
    title = figure.locator(".js-plotly-plot .gtitle")
    expect(title).to_have_css("fill", "rgb(36, 39, 44)", timeout=DRAWN_MS)
    page.evaluate("() => { document.documentElement.dataset.theme = 'dark'; }")
    expect(title).to_have_css("fill", "rgb(217, 215, 209)")


def test_two_kinds_of_plotly_draw_on_one_page_and_both_stay_alive(seen: Asked) -> None:
    page = seen.page
    figure = opened(page)
    figure.hover()
    expect(figure.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=DRAWN_MS)
    # What needs the whole of plotly, beside what the smaller part has drawn.
    page.evaluate("""() => {
      const output = document.querySelector(".tl-output[data-mime*=plotly]");
      const other = document.createElement("div");
      other.id = "other";
      output.after(other);
      return new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = "../../_static/vendor/plotly.min.js";
        script.onload = resolve;
        script.onerror = reject;
        document.head.append(script);
      }).then(() => window.Plotly.newPlot(other, [{ type: "table", cells: { values: [[1]] } }]));
    }""")
    expect(page.locator("#other .main-svg").first).to_be_visible()
    page.evaluate("() => { document.documentElement.dataset.theme = 'dark'; }")
    expect(figure.locator(".gtitle")).to_have_css("fill", "rgb(217, 215, 209)")
    page.set_viewport_size({"width": 1100, "height": 900})
    page.wait_for_timeout(600)
    drawn, place = figure.locator(".main-svg").first.bounding_box(), figure.bounding_box()
    assert drawn
    assert place
    assert drawn["width"] <= place["width"]


def test_a_table_asks_for_the_whole_of_plotly(seen: Asked) -> None:
    figure = opened(seen.page, "book/how-to/why_different.html")
    figure.hover()
    expect(figure.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=DRAWN_MS)
    assert seen.plotly == ["plotly.min.js"]


def test_the_first_stir_fetches_plotly_ahead_and_nothing_before_it(browser: Browser, address: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    asked = Asked(context.new_page(), address)
    page = asked.page
    page.goto(address + LENS)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1500)
    assert asked.plotly == []
    with page.expect_request("**/plotly-cartesian.min.js*"):
        page.mouse.move(30, 30)
        page.mouse.move(40, 40)
    assert page.locator(".tl-picture").count() == 1, "it is fetched, not run"
    assert page.locator("script[src*=plotly]").count() == 0
    asked.assert_clean()
    context.close()


def test_a_figure_that_cannot_wake_stays_a_picture_and_says_why(browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.route("**/plotly-cartesian.min.js", lambda route: route.abort())
    figure = opened(page)
    figure.hover()
    expect(page.get_by_role("status").filter(has_text="stays a picture")).to_be_visible()
    expect(figure.locator("img:visible")).to_have_count(1)
    page.unroute("**/plotly-cartesian.min.js")
    figure.click()
    expect(figure.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=DRAWN_MS)
    expect(page.get_by_text("stays a picture")).to_have_count(0)
    context.close()
