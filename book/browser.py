"""Starting headless Chromium for print, screenshots and tests; the one place that knows its options."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

__all__ = ["chromium"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_QUIET = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the Chromium that `CHROMIUM` names or that is on PATH, and stop it at the end.

    Raises:
        FileNotFoundError: there is none.
    """
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if not path or not os.path.exists(path):  # noqa: PTH110  CHROMIUM may hold anything
        raise FileNotFoundError(
            f"no Chromium: expected one of {', '.join(_NAMES)} on PATH, got {path or 'none'}; "
            f"install it, or name it in CHROMIUM"
        )
    # Chromium refuses its own sandbox to root.
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    options = [*_QUIET, *(["--no-sandbox"] if is_root else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=options)
        try:
            yield browser
        finally:
            browser.close()
