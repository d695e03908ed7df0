"""What waits until the reader first stirs: the theme's own scripts. No press is lost that comes before them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from watched_page import Watched

from benchmarks.served_book import SITE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

ROOT = SITE.as_uri() + "/"
TOUR = ROOT + "lessons/tour.html"
THEIRS = "script[src*='_static/scripts/']"
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    watched = Watched(context.new_page(), ROOT)
    watched.page.goto(TOUR)
    yield watched.page
    watched.assert_clean()
    context.close()


def test_the_theme_s_scripts_wait_for_the_reader(page: Page) -> None:
    page.wait_for_timeout(1000)
    assert page.locator(THEIRS).count() == 0
    page.mouse.wheel(0, 600)
    expect(page.locator(THEIRS)).to_have_count(2)
    # The contents of this page follow what is in view.
    page.mouse.wheel(0, 1600)
    expect(page.locator("#pst-page-toc-nav a.active").first).to_be_attached()


def test_a_press_on_the_choice_of_colours_that_comes_before_the_scripts_opens_it(page: Page) -> None:
    # A press that no movement announced, as a screen reader or a script makes it.
    page.locator(".theme-switch-button:visible").first.evaluate("button => button.click()")
    page.locator(".theme-change-button[data-mode=dark]:visible").first.click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


@pytest.mark.parametrize("which", ["primary", "secondary"])
def test_on_a_phone_an_early_tap_opens_the_contents_once(browser: Browser, which: str) -> None:
    context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(TOUR)
    page.locator(f".sidebar-toggle.{which}-toggle:visible").first.tap()
    dialog = page.locator(f"#pst-{which}-sidebar-modal")
    expect(dialog).to_have_attribute("open", "")
    expect(dialog.get_by_role("link").first).to_be_visible()
    page.wait_for_timeout(300)
    expect(dialog).to_have_attribute("open", "")
    context.close()


def test_scripts_that_cannot_be_had_leave_the_page_readable_and_are_asked_for_again(browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.route(re.compile(r"_static/scripts/"), lambda route: route.abort())
    page.goto(TOUR)
    button = page.locator(".theme-switch-button:visible").first
    button.click()
    expect(page.locator("h1").first).to_be_visible()
    page.unroute(re.compile(r"_static/scripts/"))
    page.unroute_all()
    button.click()
    expect(page.locator(".theme-change-button:visible").first).to_be_visible()
    context.close()


def test_wide_code_is_reached_by_keyboard_also_when_its_fold_opens(page: Page) -> None:
    page.set_viewport_size(PHONE)
    wide = "pre => pre.scrollWidth > pre.clientWidth"
    for fold in page.locator(".bd-article details:has(pre)").all():
        fold.evaluate("details => { details.open = true; }")
    page.wait_for_timeout(300)
    blocks = [block for block in page.locator(".bd-article pre:visible").all() if block.evaluate(wide)]
    assert blocks
    assert all(block.evaluate("pre => pre.tabIndex") == 0 for block in blocks)
