"""The Lab in headless Chromium: from a file and served, by keys, on a phone, without scripts or its kernel."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect
from watched_page import Watched, press_still

import tlab
from benchmarks.served_book import SITE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FILE = SITE.as_uri() + "/"
LIVE_MS = 60_000
MODEL = "smollm2-135m"
PROMPT = "The capital of France is"
NEW_PROMPT = "The opposite of hot is"


@pytest.fixture(scope="module")
def model() -> tlab.Model:
    return tlab.load(MODEL)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1400, "height": 900}, reduced_motion="reduce")
    seen = Watched(context.new_page(), FILE)
    yield seen.page
    seen.assert_clean()
    context.close()


def open_lab(page: Page, root: str = FILE) -> None:
    page.goto(root + "lab.html")
    expect(page.locator(".lab[data-state=open]")).to_be_visible(timeout=LIVE_MS)


def chips(page: Page) -> list[str]:
    return page.locator(".lab-position > .lab-token").all_inner_texts()


def signs(text: str) -> str:
    return text.replace(" ", "␣").replace("\n", "⏎")


def percent(p: float) -> str:
    return f"{p:.0%}" if p >= 0.0995 else f"{p:.1%}" if p >= 0.001 else "<0.1%"


def stored(prompt: str) -> dict[str, Any]:
    """Return the stored answers about a prompt by their kind; of several the last."""
    index = json.loads((SITE / "_static/lab/index.js").read_text().partition(" = ")[2].rstrip(";\n"))
    name = next(entry["name"] for entry in index if entry["prompt"] == prompt)
    raw = json.loads((SITE / f"_static/lab/{name}.js").read_text().partition("] = ")[2].rstrip(";\n"))
    return {json.loads(q)["ask"]: answer for q, answer in zip(raw["questions"], raw["answers"], strict=True)}


def guesses_shown(page: Page) -> list[tuple[str, str]]:
    rows = page.locator(".lab-prediction .lab-guesses > li")
    return [(row.locator(".lab-token").inner_text(), row.locator(".lab-number").inner_text()) for row in rows.all()]


def test_the_lab_opens_from_a_file_with_tlabs_own_numbers(page: Page, model: tlab.Model) -> None:
    open_lab(page)
    assert chips(page) == [signs(token) for token in model.to_tokens(PROMPT)]
    probs = tlab.predict(model, PROMPT, k=5).to_frame()
    expected = [(signs(row["token"]), percent(row["probability"])) for row in probs.to_dict("records")]
    assert guesses_shown(page) == expected


def test_every_position_has_its_prediction(page: Page) -> None:
    open_lab(page)
    opened = stored(PROMPT)["open"]
    for position in range(len(opened["tokens"])):
        page.locator(f"[data-position='{position}']").click()
        best = opened["next"][position][0]
        assert guesses_shown(page)[0] == (signs(best["token"]), percent(best["p"]))


def test_a_head_is_reached_opened_and_closed_by_keys_alone(page: Page) -> None:
    open_lab(page)
    picture = page.get_by_role("application").filter(has=page.locator(".lab-pipe-world"))
    picture.focus()
    says = page.locator(".lab-pipe-says")
    page.keyboard.press("ArrowRight")
    expect(says).to_contain_text("Head L0H0")
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    expect(says).to_contain_text("Head L2H1")
    page.keyboard.press("Enter")
    expect(page.locator(".lab-mode")).to_contain_text("L2H1")
    page.keyboard.press("Enter")
    expect(page.locator(".lab-invitation")).to_be_visible()
    page.keyboard.press("PageUp")
    expect(page.locator("[data-position='3']")).to_have_attribute("aria-checked", "true")


def test_the_picture_has_a_twin_in_rows(page: Page) -> None:
    open_lab(page)
    page.get_by_text("The pipeline as a table").click()
    rows = page.locator(".lab-pipeline table tbody tr")
    lens = stored(PROMPT)["open"]["lens"]
    assert rows.count() == len(lens["token"])
    last = rows.last.locator("td").all_inner_texts()
    assert last[:2] == [signs(lens["token"][-1][-1]), percent(lens["p"][-1][-1])]


def test_what_must_hold_is_checked_and_said(page: Page) -> None:
    open_lab(page)
    items = page.locator(".lab-identity-list > li[data-holds]")
    expect(items).to_have_count(len(stored(PROMPT)["identities"]["identities"]))
    for item in items.all():
        assert item.get_attribute("data-holds") == "true"
        assert "✓ holds" in item.inner_text()


def test_a_prompt_that_was_not_computed_gets_a_sentence_and_the_run_stays(page: Page) -> None:
    open_lab(page)
    before = chips(page)
    page.get_by_label("Prompt", exact=True).fill(NEW_PROMPT)
    page.keyboard.press("Enter")
    expect(page.locator(".lab-problem")).to_contain_text("not computed ahead")
    assert chips(page) == before
    page.get_by_label("Prompt", exact=True).fill("")
    page.keyboard.press("Enter")
    expect(page.locator(".lab-problem")).to_contain_text("type at least one letter")


def test_without_scripts_the_run_stands_there_in_words(browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(FILE + "lab.html")
    still = page.locator(".tl-lab-still")
    best = stored(PROMPT)["open"]["next"][-1][0]
    expect(still).to_contain_text(signs(best["token"]))
    expect(still.locator("table")).to_have_count(2)
    context.close()


def test_the_lab_fits_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_lab(page)
    for mode in page.locator(".lab-tab").all():
        mode.click()
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def test_zooming_keeps_what_is_in_the_middle(page: Page) -> None:
    open_lab(page)
    window = page.locator(".lab-pipe-window")
    wide = window.evaluate("it => it.scrollWidth")
    for _ in range(4):
        page.get_by_role("button", name="Zoom in").click()
    assert window.evaluate("it => it.scrollWidth") > 2 * wide
    assert window.evaluate("it => it.scrollLeft") > wide / 4
    page.get_by_role("button", name="Fit").click()
    expect(window).to_have_js_property("scrollWidth", wide)


def test_a_kernel_answers_what_was_not_computed_ahead(watched: Watched, address: str, model: tlab.Model) -> None:
    page = watched.page
    open_lab(page, address)
    press_still(page.get_by_role("button", name="Go live").first)
    expect(page.locator(".lab-badge[data-state=live]")).to_be_visible(timeout=LIVE_MS)
    page.get_by_label("Prompt", exact=True).fill(NEW_PROMPT)
    page.keyboard.press("Enter")
    expect(page.locator(".lab-position > .lab-token").nth(1)).to_have_text("␣opposite", timeout=LIVE_MS)
    best = tlab.predict(model, NEW_PROMPT, k=1).to_frame().iloc[0]
    assert guesses_shown(page)[0] == (signs(best["token"]), percent(best["probability"]))
    watched.assert_clean()


def test_a_kernel_that_is_gone_leaves_the_run_and_can_be_had_again(watched: Watched, address: str) -> None:
    page = watched.page
    open_lab(page, address)
    press_still(page.get_by_role("button", name="Go live").first)
    expect(page.locator(".lab-badge[data-state=live]")).to_be_visible(timeout=LIVE_MS)
    page.evaluate(
        """async () => {
          const { token } = JSON.parse(sessionStorage.getItem("tl-reader"));
          const headers = { Authorization: `token ${token}` };
          const kernels = await (await fetch("api/kernels", { headers })).json();
          for (const { id } of kernels) await fetch(`api/kernels/${id}`, { method: "DELETE", headers });
        }"""
    )
    expect(page.locator(".lab-badge[data-state=lost]")).to_be_visible(timeout=LIVE_MS)
    assert chips(page)[0] == "The"
    press_still(page.get_by_role("button", name="Reconnect"))
    expect(page.locator(".lab-badge[data-state=live]")).to_be_visible(timeout=LIVE_MS)
