"""What serves reading, in Chromium on the built pages as files: terms, glossary, search, keys, depths, marks, layout.

No server runs here: all of it has to work from file:// and offline.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from watched_page import Watched, press_still

from benchmarks.served_book import SITE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

ROOT = SITE.as_uri() + "/"
TOUR = ROOT + "lessons/tour.html"


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    seen = Watched(context.new_page(), ROOT)
    yield seen
    seen.assert_clean()
    context.close()


@pytest.fixture
def page(watched: Watched) -> Page:
    watched.page.goto(TOUR)
    return watched.page


@pytest.mark.firefox
def test_a_term_shows_its_definition_on_hover_and_keeps_it_while_it_is_read(page: Page) -> None:
    term = page.locator("a.tl-term", has_text="layers").first
    term.hover()
    shown = page.get_by_role("tooltip")
    expect(shown).to_contain_text("A layer is one of the equal steps")
    assert term.get_attribute("aria-describedby") == shown.get_attribute("id")
    shown.hover()
    page.wait_for_timeout(500)
    expect(shown).to_be_visible()
    page.mouse.move(5, 890)
    expect(shown).to_be_hidden()


@pytest.mark.firefox
def test_a_term_shows_its_definition_by_keyboard_and_escape_puts_it_away(page: Page) -> None:
    term = page.locator("a.tl-term").first
    page.locator(".tl-depth-switch input").first.focus()
    for _ in range(12):
        page.keyboard.press("Tab")
        if term.evaluate("link => link === document.activeElement"):
            break
    shown = page.get_by_role("tooltip")
    expect(shown).to_be_visible()
    page.keyboard.press("Escape")
    expect(shown).to_be_hidden()
    expect(term).to_be_focused()


def test_a_first_tap_shows_the_definition_and_a_second_follows_the_link(browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(TOUR)
    term = page.locator("a.tl-term").first
    term.tap()
    shown = page.get_by_role("tooltip")
    expect(shown).to_be_visible()
    box = shown.bounding_box()
    assert box
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    assert page.url == TOUR
    term.tap()
    page.wait_for_url("**/glossary.html#term-*")
    context.close()


def test_every_hoverable_term_has_a_definition(page: Page) -> None:
    page.evaluate("() => document.querySelector('[data-tl-opens=glossary]').click()")
    page.wait_for_function("() => window.tlGlossary")
    known = {identifier for entry in page.evaluate("() => window.tlGlossary") for identifier in entry["ids"]}
    links = page.locator("a.tl-term").evaluate_all("links => links.map(link => link.hash.slice(1))")
    assert len(links) > 20
    assert set(links) <= known


@pytest.mark.firefox
def test_g_opens_the_glossary_and_closing_gives_the_focus_back(page: Page) -> None:
    link = page.locator(".prev-next-area a").first
    link.focus()
    page.keyboard.press("g")
    panel = page.get_by_role("dialog", name="Glossary")
    expect(panel).to_be_visible()
    page.keyboard.type("stream")
    expect(panel.get_by_role("status")).to_contain_text(re.compile(r"\d+ of \d+ terms"))
    expect(panel.locator("dt").first).to_have_text("residual stream")
    page.keyboard.press("ArrowDown")
    expect(panel.locator("dt a").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(link).to_be_focused()


def test_the_glossary_has_a_visible_button_too(page: Page) -> None:
    page.get_by_role("button", name="Glossary").first.click()
    panel = page.get_by_role("dialog", name="Glossary")
    expect(panel.locator("dt")).not_to_have_count(0)
    panel.get_by_role("button", name="Close glossary").click()
    expect(page.get_by_role("button", name="Glossary").first).to_be_focused()


@pytest.mark.firefox
@pytest.mark.parametrize("key", ["/", "Control+k"])
def test_search_finds_every_kind_without_a_server(page: Page, key: str) -> None:
    page.keyboard.press(key)
    dialog = page.get_by_role("dialog", name="Search")
    field = dialog.get_by_role("searchbox")
    expect(field).to_be_focused()
    for query, heading, title in (
        ("logit lens", "Glossary", "logit lens"),
        ("take a part away", "Lessons", "Ablation: take a part away"),
        ("head_scores", "Library", "tlab.head_scores"),
        ("tlab-unknown-model", "Errors", "tlab-unknown-model"),
        ("abaltion", "Lessons", "Ablation"),
        ("steering vector", "How to", "steering_vector"),
        ("vocabulary bytes", "Lessons", "What the model reads"),
    ):
        field.fill(query)
        group = dialog.locator("section", has=page.get_by_role("heading", name=heading))
        expect(group.locator("a", has_text=title).first).to_be_visible()
    field.fill("zzzzqqqq")
    expect(dialog.get_by_role("status")).to_contain_text("Nothing found")


def test_what_is_typed_before_the_search_has_loaded_is_kept(page: Page) -> None:
    page.evaluate(
        """() => { for (const key of ["/", "n", "o", "r", "m"]) {
          document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
        } }"""
    )
    dialog = page.get_by_role("dialog", name="Search")
    expect(dialog.get_by_role("searchbox")).to_have_value("norm")
    expect(dialog.locator("a").first).to_be_visible()
    assert page.url == TOUR


def test_a_result_leads_to_its_section(page: Page) -> None:
    page.keyboard.press("/")
    page.get_by_role("dialog").get_by_role("searchbox").fill("tlab-unknown-model")
    page.get_by_role("dialog").locator("a").first.wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/errors.html#tlab-unknown-model")
    assert page.locator("#tlab-unknown-model").count() == 1


def test_every_result_leads_somewhere(page: Page) -> None:
    page.goto(ROOT + "search.html")
    page.wait_for_function("() => document.querySelector('.tl-search-field')")
    page.locator(".tl-search-field").fill("model")
    page.wait_for_function("() => window.tlSearchIndex")
    ids: dict[str, set[str]] = {}
    missing = []
    for _, name, anchor, *_ in page.evaluate("() => window.tlSearchIndex"):
        if name not in ids:
            ids[name] = set(re.findall(r'\sid="([^"]+)"', (SITE / f"{name}.html").read_text()))
        if anchor and anchor not in ids[name]:
            missing.append(f"{name}#{anchor}")
    assert missing == []


def test_the_search_page_answers_its_address(page: Page) -> None:
    page.goto(ROOT + "search.html?q=attention%20sink")
    expect(page.locator(".tl-search-results a").first).to_contain_text("attention sink")


def test_a_query_is_text_and_nothing_else(page: Page) -> None:
    page.goto(ROOT + "search.html?q=" + "%3Cimg%20src%3Dx%20onerror%3D%22window.evil%3D1%22%3E")
    expect(page.locator(".tl-search-status")).not_to_be_empty()
    assert page.evaluate("() => window.evil") is None


@pytest.mark.firefox
def test_question_mark_lists_the_keys_and_switches_them_off(page: Page) -> None:
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    expect(dialog.locator("kbd", has_text="g").first).to_be_visible()
    dialog.get_by_role("checkbox").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.wait_for_timeout(300)
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.reload()
    page.keyboard.press("g")
    page.wait_for_timeout(300)
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog", name="Search")).to_be_visible()


@pytest.mark.firefox
def test_letters_typed_into_a_cell_open_nothing(page: Page) -> None:
    press_still(page.locator("div.cell .cell_input pre").first)
    editor = page.locator(".cm-content").first
    editor.click()
    page.keyboard.type("g/?n")
    expect(editor).to_contain_text("g/?n")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.url == TOUR


@pytest.mark.firefox
def test_escape_and_tab_lead_out_of_the_code(page: Page) -> None:
    press_still(page.locator("div.cell .cell_input pre").first)
    editor = page.locator(".cm-content").first
    expect(editor).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(editor).not_to_be_focused()
    assert page.evaluate("() => document.activeElement.closest('.tl-toolbar, a, button') !== null")


@pytest.mark.firefox
def test_a_depth_is_chosen_once_and_stays(page: Page) -> None:
    closer, research = page.locator("details.tl-depth-closer"), page.locator("details.tl-depth-research")
    assert closer.count() >= 3
    assert research.count() >= 1
    expect(page.locator("details.tl-depth[open]")).to_have_count(0)
    page.get_by_role("radio", name="Look closer").check()
    expect(page.locator("details.tl-depth-closer[open]")).to_have_count(closer.count())
    expect(page.locator(".tag_closer details[open]")).not_to_have_count(0)
    expect(page.locator("details.tl-depth-research[open]")).to_have_count(0)
    page.goto(ROOT + "lessons/ablation.html")
    expect(page.get_by_role("radio", name="Look closer")).to_be_checked()
    expect(page.locator("details.tl-depth-closer[open]")).to_have_count(page.locator("details.tl-depth-closer").count())


def test_without_scripts_every_depth_can_be_opened_and_the_colours_hold(browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(TOUR)
    fold = page.locator("details.tl-depth").first
    fold.locator("summary").click()
    expect(fold.locator("p").first).to_be_visible()
    expect(page.get_by_role("button", name="Search")).to_have_count(0)
    context.close()


def test_print_shows_every_depth_and_none_of_the_machinery(page: Page) -> None:
    page.emulate_media(media="print")
    for fold in page.locator("details.tl-depth").all():
        expect(fold.locator("p").first).to_be_visible()
    for machinery in (".tl-depth-switch", ".tl-read", ".tl-progress", ".tl-toolbar"):
        expect(page.locator(machinery).first).to_be_hidden()


def test_a_page_is_marked_as_read_by_its_reader_only(page: Page) -> None:
    page.keyboard.press("End")
    expect(page.locator(".tl-read-mark")).to_have_count(0)
    page.get_by_role("button", name="Mark this page as read").click()
    expect(page.locator(".bd-sidebar-primary .tl-read-mark")).to_have_count(1)
    page.goto(ROOT + "lessons/ablation.html")
    expect(page.locator(".bd-sidebar-primary a", has_text="Ten minutes")).to_contain_text("(read)")


def test_contents_name_the_current_page_and_pages_follow_each_other(page: Page) -> None:
    expect(page.locator(".bd-sidebar-primary a.current")).to_have_text(re.compile("Ten minutes"))
    expect(page.locator("#pst-page-toc-nav a").first).to_be_visible()
    page.keyboard.press("n")
    page.wait_for_url("**/lessons/ablation.html")
    page.keyboard.press("p")
    page.wait_for_url("**/lessons/tour.html")


@pytest.mark.parametrize("lesson", ["tour", "ablation"])
def test_at_1280_px_code_of_88_columns_is_not_cut_and_prose_keeps_its_measure(page: Page, lesson: str) -> None:
    page.goto(f"{ROOT}lessons/{lesson}.html")
    cut = page.locator(".cell_input pre").evaluate_all(
        """blocks => blocks.filter(block => block.offsetParent && block.scrollWidth > block.clientWidth)
          .map(block => Math.max(...block.textContent.split('\\n').map(line => line.length)))"""
    )
    assert [columns for columns in cut if columns <= 88] == []
    width = page.locator("article section > p").nth(3).evaluate("p => p.getBoundingClientRect().width")
    assert 480 <= width <= 600


@pytest.mark.firefox
def test_margin_notes_stand_beside_the_text_or_in_it(page: Page) -> None:
    note = page.locator(".tl-margin").first
    prose = page.locator("article section section > p").first
    beside = note.bounding_box()
    text = prose.bounding_box()
    assert beside
    assert text
    assert beside["x"] >= text["x"] + text["width"]
    page.set_viewport_size({"width": 390, "height": 844})
    inside = note.bounding_box()
    assert inside
    assert inside["x"] + inside["width"] <= 390


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_theme_is_chosen_before_the_first_paint(browser: Browser, theme: str) -> None:
    context = browser.new_context(color_scheme=theme)  # type: ignore[arg-type]
    page = context.new_page()
    page.route("**/page.js*", lambda route: route.abort())
    page.route("**/pydata-sphinx-theme.js*", lambda route: route.abort())
    page.goto(TOUR)
    assert page.evaluate("() => document.documentElement.dataset.theme") == theme
    context.close()


def test_formulas_are_set_without_a_script_and_only_their_fonts_are_fetched(browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rsplit("/", 1)[1]))
    page.goto(ROOT + "kb/documents/self-attention.html")
    formula = page.locator(".math .katex-html").first
    formula.scroll_into_view_if_needed()
    expect(formula).to_be_visible()
    expect(page.locator(".math math").first).to_contain_text("softmax")
    fonts = {name for name in asked if name.endswith(".woff2")}
    assert fonts == {"KaTeX_Main-Regular.woff2", "KaTeX_Math-Italic.woff2"}
    context.close()


def test_a_copied_formula_is_what_was_typed(page: Page) -> None:
    page.goto(ROOT + "kb/documents/self-attention.html")
    copied = page.evaluate(
        """() => {
          const formula = document.querySelector(".math");
          const range = document.createRange();
          range.setStart(formula.parentElement, 0);
          // The selection ends in the middle of the formula.
          range.setEnd(formula.querySelector(".katex-html .mord"), 0);
          getSelection().removeAllRanges();
          getSelection().addRange(range);
          const data = new DataTransfer();
          document.dispatchEvent(new ClipboardEvent("copy", { clipboardData: data, bubbles: true, cancelable: true }));
          return data.getData("text/plain");
        }"""
    )
    assert copied.startswith("The output at a destination is the sum")
    assert copied.endswith(r"attention is $\mathrm{softmax}(Q K^\top / \sqrt{d_\mathrm{head}})\, V$")


@pytest.mark.firefox
def test_a_figure_keeps_its_height_when_the_window_changes(page: Page) -> None:
    figure = page.locator(".tl-figure").first
    pictured = figure.bounding_box()
    figure.hover()
    expect(figure.locator(".main-svg").first).to_be_visible(timeout=15_000)
    height = figure.bounding_box()
    assert height is not None
    assert pictured is not None
    assert height["height"] == pictured["height"]
    for width in (800, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        # plotly waits for the reader to be done with the window.
        page.wait_for_timeout(600)
        now, drawn = figure.bounding_box(), figure.locator(".main-svg").first.bounding_box()
        assert now is not None
        assert drawn is not None
        assert (now["height"], drawn["height"]) == (height["height"], height["height"])
        assert drawn["width"] <= now["width"]
