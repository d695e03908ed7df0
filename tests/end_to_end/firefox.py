"""Starting headless Firefox for the tests, driven by the same Playwright as Chromium."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

_RELAY = Path(__file__).parent / "firefox_relay.py"
_NAMES = ("firefox-esr", "firefox")


def find() -> str | None:
    """Return the Firefox that `FIREFOX` names or that is on PATH."""
    return os.environ.get("FIREFOX") or next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def firefox(*, dark: bool = False) -> Iterator[Browser]:
    """Start Firefox, on a system that prefers dark colours or light ones, and stop it at the end.

    Raises:
        FileNotFoundError: there is none.
    """
    path = find()
    if path is None:
        raise FileNotFoundError(
            f"no Firefox: expected one of {', '.join(_NAMES)} on PATH, got none; install it, or name it in FIREFOX"
        )
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        # Playwright starts one program: Firefox with the relay before it.
        starter = Path(folder) / "firefox"
        starter.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(_RELAY))} "$@"\n')
        starter.chmod(0o700)
        browser = playwright.firefox.launch(
            channel="moz-firefox",
            executable_path=starter,
            env={**os.environ, "FIREFOX": path},
            firefox_user_prefs={"layout.css.prefers-color-scheme.content-override": 0 if dark else 1},
        )
        try:
            yield browser
        finally:
            browser.close()
