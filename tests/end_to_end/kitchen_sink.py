"""The kitchen-sink site and its cells: built from `kitchen/` with the book's own extensions and front end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

__all__ = ["LIVE_MS", "build", "cell_under", "run", "run_code"]

LIVE_MS = 60_000

_ROOT = Path(__file__).parents[2]
_SOURCE = Path(__file__).parent / "kitchen"
_BUILT = _ROOT / "build" / "kitchen"


def build() -> Path:
    """Build the site and return its folder; cells that have not changed are not run again.

    Raises:
        RuntimeError: Sphinx failed or warned; the message holds its words.
    """
    folder = _BUILT / "html"
    options = ["-b", "html", "-W", "--keep-going", "-q", "-d", str(_BUILT / "doctrees")]
    options += ["-D", f"nb_execution_cache_path={_BUILT / 'executed'}"]
    command = [sys.executable, "-m", "sphinx", *options, str(_SOURCE), str(folder)]
    # The cells run in the page's folder, and are to find this project's packages.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(_ROOT)}
    done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"kitchen sink: expected Sphinx to build it, got {done.returncode}:\n{done.stderr[-3000:]}")
    return folder


def cell_under(page: Page, heading: str) -> Locator:
    return page.locator(f"section#{heading.lower().replace(' ', '-')} div.cell")


def run(cell: Locator, state: str = "live") -> Locator:
    cell.get_by_role("button", name=re.compile("^Run")).first.click()
    expect(cell).to_have_attribute("data-state", state, timeout=LIVE_MS)
    return cell.locator(".cell_output")


def run_code(page: Page, code: str, state: str = "live") -> Locator:
    """Run `code` in the scratch cell; the setup cell has imported what it needs."""
    cell = cell_under(page, "Scratch")
    editor = cell.locator(".cm-content")
    if not editor.is_visible():
        cell.locator(".cell_input pre").first.click()
    editor.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(code)
    return run(cell, state)
