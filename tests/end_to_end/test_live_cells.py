"""Cells and their kernel in Chromium over the real service: edits, errors, export, and every way to lose a kernel."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from cells_book import Cable, CellsService, build
from playwright.sync_api import expect
from watched_page import Watched, write_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Download, Locator, Page

pytestmark = [pytest.mark.browser, pytest.mark.kernel]

LIVE_MS = 30_000
SLOW = "for i in range(60):\n    print('step', i, flush=True)\n    time.sleep(0.1)"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("cells"))


@pytest.fixture(scope="module")
def service(pages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CellsService]:
    shared = CellsService(pages, tmp_path_factory.mktemp("state"))
    shared.start()
    yield shared
    shared.stop()


@pytest.fixture
def own_service(pages: Path, tmp_path: Path) -> Iterator[CellsService]:
    """A service that the test may stop and start."""
    own = CellsService(pages, tmp_path)
    yield own
    own.stop()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[[str], Watched]]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)

    def start(address: str) -> Watched:
        watched = Watched(context.new_page(), address)
        watched.page.goto(address)
        return watched

    yield start
    context.close()


@pytest.fixture
def cable(service: CellsService) -> Iterator[Cable]:
    network = Cable(service.port)
    yield network
    network.close()


@pytest.fixture
def watched(open_page: Callable[[str], Watched], service: CellsService) -> Watched:
    return open_page(service.address)


def cell(page: Page, number: int) -> Locator:
    return page.locator("div.cell").nth(number - 1)


def press(where: Locator, words: str) -> None:
    where.get_by_role("button", name=re.compile(f"^{words}")).first.click()


def bar(page: Page) -> Locator:
    return page.locator(".tl-kernel-bar")


def from_menu(page: Page, words: str) -> None:
    bar(page).locator("summary").click()
    press(bar(page), words)


def run(where: Locator, state: str = "live") -> None:
    press(where, "Run")
    expect(where).to_have_attribute("data-state", state, timeout=LIVE_MS)


def run_code(page: Page, where: Locator, code: str) -> None:
    write_code(page, where, code)
    run(where)


@pytest.mark.firefox
def test_a_run_shows_its_number_its_time_and_how_far_all_have_come(watched: Watched) -> None:
    page = watched.page
    press(bar(page), "Run all")
    last = cell(page, 7)
    expect(last).to_have_attribute("data-state", "live", timeout=LIVE_MS)
    expect(cell(page, 2).locator(".tl-count")).to_have_text("[2]")
    expect(cell(page, 2).locator(".tl-clock")).to_have_text(re.compile(r"^[\d.]+ m?s$"))
    expect(cell(page, 4)).to_have_attribute("data-state", "error")
    expect(bar(page).locator(".tl-kernel-words")).to_have_text("Kernel ready")
    write_code(page, cell(page, 2), SLOW)
    press(bar(page), "Run all")
    expect(bar(page).locator(".tl-kernel-words")).to_have_text("Running: cell 2 of 7")
    expect(cell(page, 4).locator(".tl-place")).to_have_text("1 before it")
    expect(cell(page, 2).locator(".tl-clock")).to_have_text("2 s")
    press(bar(page), "Interrupt")
    expect(cell(page, 2).locator(".cell_output")).to_contain_text("Interrupted")
    expect(cell(page, 4)).to_have_attribute("data-state", "error")
    watched.assert_clean()


@pytest.mark.firefox
def test_shift_enter_runs_the_cell_that_has_the_focus(watched: Watched) -> None:
    page = watched.page
    cell(page, 2).locator(".cell_output").click()
    page.keyboard.press("Shift+Enter")
    expect(cell(page, 2)).to_have_attribute("data-state", "live", timeout=LIVE_MS)
    watched.assert_clean()


@pytest.mark.firefox
def test_an_edit_outlives_a_reload_and_a_reset_forgets_it(watched: Watched) -> None:
    page = watched.page
    write_code(page, cell(page, 2), "numbers = [40, 2]\nsum(numbers)")
    expect(cell(page, 2).locator(".tl-edited")).to_be_visible()
    page.reload()
    expect(cell(page, 2).locator(".cell_input")).to_contain_text("numbers = [40, 2]")
    expect(cell(page, 2).locator(".tl-edited")).to_be_visible()
    expect(cell(page, 2).locator(".cm-content")).to_be_visible()
    run(cell(page, 2))
    expect(cell(page, 2).locator(".cell_output")).to_contain_text("42")
    from_menu(page, "Reset page")
    expect(bar(page)).to_contain_text("throws away your edits in cell 2")
    press(bar(page), "Reset the page")
    expect(cell(page, 2)).to_have_attribute("data-state", "stored")
    page.reload()
    expect(cell(page, 2).locator(".cell_input")).to_contain_text("len(numbers)")
    expect(cell(page, 2).locator(".tl-edited")).to_be_hidden()
    watched.assert_clean()


def test_a_changed_book_leaves_the_choice_to_the_reader(watched: Watched) -> None:
    page = watched.page
    entry = json.dumps({"book": "an older text", "mine": "numbers = 'mine'"})
    page.evaluate("entry => localStorage.setItem('tl-edit:index:2', entry)", entry)
    page.reload()
    asked = cell(page, 2).locator(".tl-notice")
    expect(asked).to_contain_text("The book's code has changed since your edit.")
    expect(cell(page, 2).locator(".cell_input")).to_contain_text("len(numbers)")
    asked.locator("summary").click()
    expect(asked.locator("pre")).to_have_text("numbers = 'mine'")
    press(asked, "Use my edit")
    expect(cell(page, 2).locator(".cell_input")).to_contain_text("numbers = 'mine'")
    watched.assert_clean()


def _downloaded(page: Page, words: str) -> tuple[Download, str]:
    with page.expect_download() as caught:
        from_menu(page, words)
    return caught.value, Path(caught.value.path()).read_text()


@pytest.mark.parametrize("origin", ["served", "file"])
def test_the_page_leaves_as_a_valid_notebook_and_as_a_script(
    open_page: Callable[[str], Watched], service: CellsService, pages: Path, origin: str
) -> None:
    page = open_page((pages / "index.html").as_uri() if origin == "file" else service.address).page
    write_code(page, cell(page, 2), "numbers = [40, 2]")
    download, text = _downloaded(page, "Download as notebook")
    assert download.suggested_filename == "index.ipynb"
    notebook = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call] # nbformat has no types
    nbformat.validate(notebook)
    codes = [each.source for each in notebook.cells if each.cell_type == "code"]
    assert len(codes) == 10
    assert codes[2] == "numbers = [40, 2]"
    # What the page shows without its code, or not at all, is in the file, where it belongs, and says so.
    assert codes[1] == 'unseen = "</script><b>"'
    assert codes[-2:] == ['print("made by", "code out of sight")', 'assert unseen.startswith("<")']
    tags = [each.metadata.get("tags") for each in notebook.cells if each.source in {codes[1], *codes[-2:]}]
    assert tags == [["remove-cell"], ["remove-input"], ["remove-cell"]]
    prose = "\n".join(each.source for each in notebook.cells if each.cell_type == "markdown")
    assert prose.startswith(
        "# A page of cells\n\nProse with **bold** words, `code`, and a formula $x^2$.\n\n- one item"
    )
    assert "## What fails, and what hides" in prose
    assert "made by code out of sight" not in text
    download, script = _downloaded(page, "Download as script")
    assert download.suggested_filename == "index.py"
    compile(script, "index.py", "exec")
    assert codes[1] in script
    assert "# # A page of cells" in script


def test_run_all_above_runs_what_is_missing_and_then_the_cell(watched: Watched) -> None:
    page = watched.page
    press(cell(page, 3), "Run all above")
    expect(cell(page, 3)).to_have_attribute("data-state", "live", timeout=LIVE_MS)
    expect(cell(page, 3).locator(".cell_output")).to_contain_text("hello 6")
    assert [cell(page, number).get_attribute("data-state") for number in (1, 2, 4)] == ["live", "live", "stored"]
    watched.assert_clean()


def test_a_cell_says_what_it_needs_before_it_fails(watched: Watched) -> None:
    page = watched.page
    press(cell(page, 3), "Run")
    said = cell(page, 3).locator(".tl-notice")
    expect(said).to_contain_text("This cell needs what cell 2 makes (numbers)", timeout=LIVE_MS)
    expect(cell(page, 3)).to_have_attribute("data-state", "stored")
    press(said, "Run cell 2 first")
    expect(cell(page, 3)).to_have_attribute("data-state", "live", timeout=LIVE_MS)
    expect(cell(page, 3).locator(".cell_output")).to_contain_text("hello 6")
    watched.assert_clean()


@pytest.mark.firefox
def test_an_error_names_its_line_marks_it_and_leads_there(watched: Watched) -> None:
    page = watched.page
    expect(cell(page, 4).locator(".tl-error-line")).to_have_text("Line 2 of this cell")
    run(cell(page, 4), "error")
    error = cell(page, 4).locator(".tl-error")
    expect(error.locator(".tl-error-head")).to_have_text("ZeroDivisionError: division by zero")
    expect(error.locator("details")).not_to_have_attribute("open", "")
    expect(cell(page, 4).locator("pre mark")).to_have_text("return 1 / parts")
    press(error, "Go to line 2")
    expect(cell(page, 4).locator(".cm-content")).to_be_focused()
    page.keyboard.press("Control+Enter")
    expect(cell(page, 4).locator(".cm-line.tl-failed-line")).to_have_text("    return 1 / parts", timeout=LIVE_MS)
    page.keyboard.type("  # mine")
    expect(cell(page, 4).locator(".tl-failed-line")).to_have_count(0)
    press(cell(page, 4).locator(".tl-error"), "Explain this")
    question = page.get_by_role("dialog").get_by_role("textbox")
    expect(question).to_have_value(re.compile(r"`ZeroDivisionError: division by zero` at the line `return 1 / parts`"))
    watched.assert_clean()


@pytest.mark.firefox
def test_tab_completes_shift_tab_explains_and_escape_leaves(watched: Watched) -> None:
    page = watched.page
    run(cell(page, 1))
    write_code(page, cell(page, 2), "time.perf_counter")
    page.keyboard.press("Shift+Tab")
    expect(page.locator(".tl-inspection")).to_contain_text("perf_counter() -> float", timeout=LIVE_MS)
    page.keyboard.press("Escape")
    expect(page.locator(".tl-inspection")).to_have_count(0)
    write_code(page, cell(page, 2), "greet")
    page.keyboard.press("Tab")
    expect(page.locator(".cm-tooltip-autocomplete li").first).to_contain_text("greeting", timeout=LIVE_MS)
    page.wait_for_timeout(150)  # CodeMirror takes no choice in a list's first moment
    page.keyboard.press("Tab")
    expect(cell(page, 2).locator(".cm-content")).to_have_text("greeting")
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(cell(page, 2).locator(".cm-content")).not_to_be_focused()
    watched.assert_clean()


@pytest.mark.firefox
def test_folded_cells_open_by_keyboard_and_run(watched: Watched) -> None:
    page = watched.page
    for number, words in ((5, "its code is folded"), (7, "all of it is folded")):
        folded = cell(page, number)
        expect(folded.get_by_role("button", name=re.compile("^Run"))).to_have_count(0)
        folded.locator("summary").first.focus()
        page.keyboard.press("Enter")
        run(folded)
        expect(folded.locator(".cell_output")).to_have_text(words)
    run(cell(page, 6))
    expect(cell(page, 6).locator(".cell_output")).to_be_visible()
    watched.assert_clean()


@pytest.mark.firefox
def test_a_kernel_killed_in_mid_cell_is_told_and_a_restart_runs_all_again(
    watched: Watched, service: CellsService
) -> None:
    page = watched.page
    run(cell(page, 1))
    run_code(page, cell(page, 2), "print(os.getpid())")
    pid = int(cell(page, 2).locator(".cell_output").inner_text())
    write_code(page, cell(page, 3), SLOW)
    press(cell(page, 3), "Run")
    expect(cell(page, 3).locator(".cell_output")).to_contain_text("step 2", timeout=LIVE_MS)
    service.kill_kernel(pid)
    expect(bar(page)).to_have_attribute("data-kernel", "dead", timeout=LIVE_MS)
    expect(bar(page)).to_contain_text("The kernel died")
    expect(bar(page)).to_contain_text("What cells 1 and 2 had computed is lost.")
    write_code(page, cell(page, 3), "print('again', greeting)")
    press(bar(page), "Restart and run all above")
    expect(cell(page, 3).locator(".cell_output")).to_contain_text("again hello", timeout=LIVE_MS)
    assert int(cell(page, 2).locator(".cell_output").inner_text()) != pid
    watched.assert_clean()


def test_a_cell_outlives_a_cut_network(open_page: Callable[[str], Watched], cable: Cable) -> None:
    page = open_page(cable.address).page
    run(cell(page, 1))
    write_code(page, cell(page, 3), SLOW)
    press(cell(page, 3), "Run")
    expect(cell(page, 3).locator(".cell_output")).to_contain_text("step 2", timeout=LIVE_MS)
    cable.cut()
    page.context.set_offline(True)
    expect(bar(page)).to_have_attribute("data-kernel", "reconnecting", timeout=LIVE_MS)
    cable.mend()
    page.context.set_offline(False)
    expect(bar(page)).not_to_have_attribute("data-kernel", "reconnecting", timeout=LIVE_MS)
    expect(cell(page, 3)).to_have_attribute("data-state", "live", timeout=LIVE_MS)
    run_code(page, cell(page, 3), "print('still', greeting)")
    expect(cell(page, 3).locator(".cell_output")).to_contain_text("still hello")


def test_a_cell_that_ended_while_the_network_was_away_says_that_output_may_be_missing(
    open_page: Callable[[str], Watched], cable: Cable
) -> None:
    page = open_page(cable.address).page
    run(cell(page, 1))
    write_code(page, cell(page, 3), "print('begun', flush=True)\ntime.sleep(2)\nprint('unheard')")
    press(cell(page, 3), "Run")
    expect(cell(page, 3).locator(".cell_output")).to_contain_text("begun", timeout=LIVE_MS)
    cable.cut()
    expect(bar(page)).to_have_attribute("data-kernel", "reconnecting", timeout=LIVE_MS)
    page.wait_for_timeout(3000)
    cable.mend()
    expect(cell(page, 3).locator(".tl-notice")).to_contain_text(
        "The connection broke while this cell ran.", timeout=LIVE_MS
    )
    expect(cell(page, 3)).to_have_attribute("data-state", "live")


def test_a_server_restarted_in_mid_cell_is_told_and_the_page_goes_on(
    open_page: Callable[[str], Watched], own_service: CellsService
) -> None:
    own_service.start()
    page = open_page(own_service.address).page
    run(cell(page, 1))
    write_code(page, cell(page, 3), SLOW)
    press(cell(page, 3), "Run")
    expect(cell(page, 3).locator(".cell_output")).to_contain_text("step 2", timeout=LIVE_MS)
    own_service.stop()
    expect(bar(page)).to_have_attribute("data-kernel", re.compile("reconnecting|dead"), timeout=LIVE_MS)
    own_service.start()
    expect(bar(page)).to_have_attribute("data-kernel", "dead", timeout=LIVE_MS)
    expect(bar(page)).to_contain_text("The service no longer has this kernel")
    write_code(page, cell(page, 3), "print('again', greeting)")
    press(bar(page), "Restart and run all above")
    expect(cell(page, 3).locator(".cell_output")).to_contain_text("again hello", timeout=LIVE_MS)


def test_a_kept_kernel_goes_along_to_the_next_page(watched: Watched, service: CellsService) -> None:
    page = watched.page
    bar(page).locator("summary").click()
    bar(page).get_by_role("switch").check()
    run_code(page, cell(page, 2), "carried = 'luggage'")
    page.goto(service.address + "next.html")
    expect(bar(page)).to_contain_text("This is the kernel of the page before", timeout=LIVE_MS)
    run(cell(page, 1))
    expect(cell(page, 1).locator(".cell_output")).to_contain_text("from the page before: luggage")
    bar(page).locator("summary").click()
    bar(page).get_by_role("switch").uncheck()
    page.goto(service.address)
    page.goto(service.address + "next.html")
    run(cell(page, 1), "error")
    watched.assert_clean()


def test_an_idle_kernel_is_warned_of_and_then_gone_with_a_reason(
    open_page: Callable[[str], Watched], own_service: CellsService
) -> None:
    own_service.start("--cull-idle-min", "0.25")
    page = open_page(own_service.address).page
    run(cell(page, 1))
    warning = bar(page).get_by_text("the service takes this kernel back in less than a minute")
    expect(warning).to_be_visible(timeout=LIVE_MS)
    press(bar(page), "Keep it")
    expect(warning).to_be_hidden()
    expect(bar(page)).to_have_attribute("data-kernel", "dead", timeout=LIVE_MS)
    expect(bar(page)).to_contain_text("took this kernel back, because nothing had run for 15 s")
    expect(bar(page)).to_contain_text("What cell 1 had computed is lost.")


def test_limits_are_sentences_and_a_restart_fits_into_them(
    open_page: Callable[[str], Watched], browser: Browser, own_service: CellsService
) -> None:
    own_service.start("--spares", "0", "--max-kernels", "1", "--max-kernels-per-reader", "1", "--max-waiting", "0")
    page = open_page(own_service.address).page
    run(cell(page, 1))
    from_menu(page, "Start a new kernel")
    expect(bar(page).locator(".tl-kernel-words")).to_have_text("Kernel ready", timeout=LIVE_MS)
    stranger = browser.new_context().new_page()
    stranger.goto(own_service.address)
    press(cell(stranger, 1), "Run")
    told = cell(stranger, 1).locator(".tl-notice")
    expect(told).to_contain_text("expected at most 1 kernels in this service, got 1 already", timeout=LIVE_MS)
    expect(told).to_contain_text("Try again in a few minutes")
    expect(bar(stranger)).to_have_attribute("data-kernel", "failed")
    from_menu(page, "Start a new kernel")
    expect(bar(page).locator(".tl-kernel-words")).to_have_text("Kernel ready", timeout=LIVE_MS)
    stranger.context.close()


def test_a_reader_of_a_full_service_sees_their_place_and_gets_the_next_kernel(
    open_page: Callable[[str], Watched], browser: Browser, own_service: CellsService
) -> None:
    own_service.start("--spares", "0", "--max-kernels", "1")
    page = open_page(own_service.address).page
    run(cell(page, 1))
    strangers = [browser.new_context().new_page() for _ in range(2)]
    for number, stranger in enumerate(strangers, start=1):
        stranger.goto(own_service.address)
        press(cell(stranger, 1), "Run")
        place = f"you are number {number} of {number} in line for the next one"
        expect(bar(stranger)).to_contain_text(place, timeout=LIVE_MS)
        expect(cell(stranger, 1)).to_have_attribute("data-state", "queued")
    from_menu(page, "Start a new kernel")
    expect(bar(page).locator(".tl-kernel-words")).to_have_text("Kernel ready", timeout=LIVE_MS)
    first, second = strangers
    press(bar(first), "Interrupt")
    expect(bar(first)).to_have_attribute("data-kernel", "idle")
    expect(cell(first, 1)).to_have_attribute("data-state", "stored")
    expect(bar(second)).to_contain_text("you are number 1 of 1 in line", timeout=LIVE_MS)
    page.context.close()
    expect(cell(second, 1)).to_have_attribute("data-state", "live", timeout=LIVE_MS)
    for stranger in strangers:
        stranger.context.close()
