"""One served book, one served kitchen sink, and one browser for all end-to-end tests."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import kitchen_sink
import pytest
from watched_page import Watched

from benchmarks.served_book import SITE, served_book
from book.browser import chromium

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser


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
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def watched(browser: Browser, address: str) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield Watched(context.new_page(), address)
    context.close()


@pytest.fixture(scope="module")
def kitchen() -> Path:
    return kitchen_sink.build()


@pytest.fixture(scope="module")
def kitchen_address(kitchen: Path) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        with served_book(Path(folder), site=kitchen) as url:
            yield url


@pytest.fixture
def sink(browser: Browser, kitchen_address: str) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    watched = Watched(context.new_page(), kitchen_address)
    watched.page.goto(kitchen_address)
    yield watched
    context.close()
