"""The kitchen-sink site: built once for the tests from `kitchen/`, and what a reader does in its cells."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import expect
from watched_page import press_still, write_code

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

__all__ = ["LIVE_MS", "build", "cell_under", "output_of", "press_run", "run", "run_code", "start_code"]

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
    """Return the cell below a heading."""
    return page.locator(f"section#{heading.lower().replace(' ', '-')} div.cell")


def press_run(cell: Locator) -> None:
    """Press Run."""
    press_still(cell.get_by_role("button", name=re.compile("^Run")).first)


def run(cell: Locator, state: str = "live") -> Locator:
    """Run a cell to its end, and return its output."""
    press_run(cell)
    expect(cell).to_have_attribute("data-state", state, timeout=LIVE_MS)
    return cell.locator(".cell_output")


def output_of(cell: Locator, mode: str) -> Locator:
    """Return a cell's stored output as it is, or its live one after a run."""
    return run(cell) if mode == "live" else cell.locator(".cell_output")


def start_code(page: Page, code: str) -> Locator:
    """Press Run on the scratch cell with `code`, which finds what the setup cell has imported; do not wait for it."""
    cell = cell_under(page, "Scratch")
    write_code(page, cell, code)
    press_run(cell)
    return cell


def run_code(page: Page, code: str, state: str = "live") -> Locator:
    """Run `code` in the scratch cell to its end, and return its output."""
    cell = start_code(page, code)
    expect(cell).to_have_attribute("data-state", state, timeout=LIVE_MS)
    return cell.locator(".cell_output")
