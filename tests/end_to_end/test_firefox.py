"""What the tests need of Firefox itself: the watch sees what a page does there, and dark colours can be asked for."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from conftest import NO_FIREFOX
from firefox import find, firefox
from watched_page import Watched

from benchmarks.served_book import SITE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.skipif(find() is None, reason=NO_FIREFOX)]

TOUR = SITE.as_uri() + "/lessons/tour.html"


@pytest.fixture(scope="module")
def dark() -> Iterator[Browser]:
    with firefox(dark=True) as started:
        yield started


def test_the_watch_sees_foreign_requests_and_errors(dark: Browser) -> None:
    context = dark.new_context()
    seen = Watched(context.new_page(), SITE.as_uri())
    seen.page.goto(TOUR)
    seen.assert_clean()
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        foreign = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/x.png"
        with seen.page.expect_request(foreign):
            seen.page.evaluate("address => { new Image().src = address; }", foreign)
    with seen.page.expect_event("pageerror"):
        seen.page.evaluate("() => { console.error('said'); setTimeout(() => { throw new Error('thrown'); }); }")
    assert seen.foreign == [foreign]
    assert any("said" in error for error in seen.errors)
    assert any("thrown" in error for error in seen.errors)
    context.close()


def test_a_system_in_the_dark_gets_dark_pages_and_the_switch_has_the_last_word(dark: Browser) -> None:
    context = dark.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(TOUR)
    assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"
    bar = page.locator(".cell_input pre").first.evaluate("code => getComputedStyle(code).scrollbarColor")
    assert bar == "rgb(163, 166, 171) rgba(0, 0, 0, 0)", "a white bar under dark code"
    page.get_by_role("button", name="Color mode").first.click()
    page.locator(".theme-change-button[data-mode=light]").first.click()
    assert page.evaluate("() => document.documentElement.dataset.theme") == "light"
    assert page.locator("body").evaluate("body => getComputedStyle(body).colorScheme") in {"light", "normal"}
    context.close()
