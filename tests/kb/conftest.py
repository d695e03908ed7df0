"""Fixtures of the knowledge base's tests: one real Postgres with the real index for the whole session."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kb.library import Library
from kb.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def book_root() -> Path:
    """Return the repository, with the real documents."""
    return ROOT


@pytest.fixture
def reachable_dir() -> Iterator[Path]:
    """Make a folder that `nobody` can enter, unlike pytest's own, when the tests run as root."""
    yield from _reachable_dir()


@pytest.fixture(scope="session")
def library() -> Iterator[Library]:
    """Open the library over the real corpus, in a database of its own."""
    for folder in _reachable_dir():
        opened = Library(Settings(state_dir=folder))
        opened.open()
        yield opened
        opened.close()


def _reachable_dir() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tlab-test-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
