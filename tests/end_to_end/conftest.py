"""One served book, one served kitchen sink, and one browser for all end-to-end tests."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import kitchen_sink
import pytest
from firefox import find, firefox
from watched_page import Watched

from benchmarks.served_book import SITE, served_book
from book.browser import chromium

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser


NO_FIREFOX = "no Firefox on PATH nor in FIREFOX: what runs in both browsers was run in Chromium only"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that have a browser in Chromium, and those marked `firefox` in Firefox too."""
    if "browser" not in metafunc.fixturenames:
        return
    kinds: list[object] = ["chromium"]
    if metafunc.definition.get_closest_marker("firefox"):
        kinds.append(pytest.param("firefox", marks=pytest.mark.skipif(find() is None, reason=NO_FIREFOX)))
    metafunc.parametrize("browser", kinds, indirect=True, scope="module")


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    assert (SITE / "index.html").is_file(), "build the book first: python3 noxfile.py book"
    with tempfile.TemporaryDirectory() as folder:
        # As root the database runs as another user, who has to reach its files; pytest's own folders are closed to it.
        Path(folder).chmod(0o711)
        with served_book(Path(folder)) as url:
            yield url


# Not for the whole session: playwright keeps an event loop running in this thread, and other tests need their own.
@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    with firefox() if request.param == "firefox" else chromium() as started:
        yield started


@pytest.fixture(scope="session")
def kitchen() -> Path:
    return kitchen_sink.build()


@pytest.fixture(scope="session")
def kitchen_address(kitchen: Path) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        with served_book(Path(folder), site=kitchen) as url:
            yield url


@pytest.fixture
def sink(browser: Browser, kitchen_address: str) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = Watched(context.new_page(), kitchen_address)
    opened.page.goto(kitchen_address)
    yield opened
    context.close()


@pytest.fixture
def watched(browser: Browser, address: str) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield Watched(context.new_page(), address)
    context.close()
