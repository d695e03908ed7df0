"""`python -m benchmarks.first_result`: how long a reader waits from *Run* to the first live output.

Each round opens a page that has no kernel in a fresh browser context, scrolls to a cell as a reader would, presses
*Run*, and takes the time until the first live output stands in place of the stored one; the cell above it, which
imports the library and names the model, runs first and counts. Then it presses again, now that the page has its kernel.
One cell prints text; the other draws a figure, for which plotly has to be loaded.
Beside it, in the same process, a stock ipykernel is started and does what the cell does: import tlab, load, predict.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_client.manager import KernelManager

from benchmarks.served_book import served_book
from book.browser import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

__all__ = ["main"]

_PAGE = "lessons/tour.html"
_CELLS = {"text": "print(tokens)", "figure": "tlab.predict(model"}
_TARGETS_MS = {"text, page without a kernel": 300, "text, again": 300, "figure, page without a kernel": 1000}
_CODE = "import tlab; tlab.predict(tlab.load('smollm2-135m'), 'The capital of France is')"
_LISTEN = """() => {
  window.firstResult = null;
  document.addEventListener('tl:run-first-output', event => {
    window.firstResult ??= performance.now() - window.pressedAt;
  });
}"""
_PRESS = """cell => { window.pressedAt = performance.now(); cell.querySelector('button.tl-primary').click(); }"""


def _browser_round(browser: Browser, address: str, what: str) -> dict[str, float]:
    context = browser.new_context()
    try:
        page = context.new_page()
        page.goto(address + _PAGE, wait_until="load")
        page.evaluate(_LISTEN)
        cell = page.locator("div.cell", has=page.locator(".cell_input", has_text=_CELLS[what])).first
        cell.scroll_into_view_if_needed()
        page.wait_for_load_state("networkidle")
        for image in cell.locator(".tl-picture img").all()[:1]:
            image.evaluate("image => image.decode()")
        return {f"{what}, page without a kernel": _press(page, cell), f"{what}, again": _press(page, cell)}
    finally:
        context.close()


def _press(page: Page, cell: Locator) -> float:
    cell.locator("button.tl-primary:visible").wait_for()
    page.evaluate("() => { window.firstResult = null; }")
    cell.evaluate(_PRESS)
    page.wait_for_function("() => window.firstResult !== null", timeout=60_000)
    return float(page.evaluate("() => window.firstResult"))


def _stock_round() -> float:
    began = time.perf_counter()
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)
        reply = client.execute_interactive(_CODE, timeout=300, output_hook=lambda _: None)
        if reply["content"]["status"] != "ok":
            raise RuntimeError(f"stock kernel failed: expected ok, got {reply['content']}; run the cell by hand")
        return (time.perf_counter() - began) * 1000
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def main() -> None:
    """Measure and print a table with the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, help="pages opened (default 10)")
    parser.add_argument("--stock-rounds", type=int, default=3, help="stock kernels started (default 3)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, served_book(Path(folder)) as address, chromium() as browser:
        rows: dict[str, list[float]] = {}
        for what in _CELLS:
            _browser_round(browser, address, what)  # the first page after a start also warms the browser
            rounds = [_browser_round(browser, address, what) for _ in range(options.rounds)]
            rows |= {name: [one[name] for one in rounds] for name in rounds[0]}
        stock = [_stock_round() for _ in range(options.stock_rounds)]
    print(f"{'first live output after Run (ms)':58}{'p50':>9}{'max':>9}{'n':>5}")  # noqa: T201  a benchmark speaks
    for name, times in {**rows, "stock ipykernel: start, import tlab, load, predict": stock}.items():
        print(f"{name:58}{statistics.median(times):>9.0f}{max(times):>9.0f}{len(times):>5}")  # noqa: T201
    figure = statistics.median(rows["figure, page without a kernel"])
    print(f"ratio stock / figure, page without a kernel: {statistics.median(stock) / figure:.1f}")  # noqa: T201
    for name, most in _TARGETS_MS.items():
        p50 = statistics.median(rows[name])
        print(f"target: {name}, p50 at most {most} ms: {'met' if p50 <= most else 'MISSED'}")  # noqa: T201


if __name__ == "__main__":
    main()
