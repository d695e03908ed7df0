"""`python -m benchmarks.first_result`: how long a reader waits from *Run* to the first live result.

Each round opens a page that has no kernel in a fresh browser context, scrolls to the first cell that shows a prediction
as a reader would, until the picture of its stored figure shows, presses *Run*, and takes the time until the live figure
has replaced the picture. The cell above it, which imports the library and names the model, runs first and counts.
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
    from playwright.sync_api import Browser

__all__ = ["main"]

_PAGE = "lessons/tour.html"
_TARGET_MS = 1000
_CODE = "import tlab; tlab.predict(tlab.load('smollm2-135m'), 'The capital of France is')"
_LISTEN = """() => {
  window.firstResult = null;
  document.addEventListener('tl:run-first-output', event => {
    window.firstResult ??= performance.now() - window.pressedAt;
  });
}"""
_PRESS = """cell => { window.pressedAt = performance.now(); cell.querySelector('button.tl-primary').click(); }"""


def _browser_round(browser: Browser, address: str) -> float:
    context = browser.new_context()
    try:
        page = context.new_page()
        page.goto(address + _PAGE, wait_until="load")
        page.evaluate(_LISTEN)
        cell = page.locator("div.cell", has=page.locator(".cell_input", has_text="tlab.predict(model")).first
        cell.scroll_into_view_if_needed()
        cell.locator(".tl-picture img").first.evaluate("image => image.decode()")
        page.wait_for_load_state("networkidle")
        cell.evaluate(_PRESS)
        page.wait_for_function("() => window.firstResult !== null", timeout=60_000)
        return float(page.evaluate("() => window.firstResult"))
    finally:
        context.close()


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
        _browser_round(browser, address)  # the first page after a start also warms the browser
        warm = [_browser_round(browser, address) for _ in range(options.rounds)]
        stock = [_stock_round() for _ in range(options.stock_rounds)]
    p50, worst, beside = statistics.median(warm), max(warm), statistics.median(stock)
    rows = [
        ("Run to first live result, page without a kernel (ms)", p50, worst, options.rounds),
        ("stock ipykernel: start, import tlab, load, predict (ms)", beside, max(stock), options.stock_rounds),
    ]
    print(f"{'':58}{'p50':>9}{'max':>9}{'n':>5}")  # noqa: T201  a benchmark speaks
    for name, median, highest, count in rows:
        print(f"{name:58}{median:>9.0f}{highest:>9.0f}{count:>5}")  # noqa: T201
    print(f"ratio stock / warm: {beside / p50:.1f}")  # noqa: T201
    print(f"target: p50 at most {_TARGET_MS} ms: {'met' if p50 <= _TARGET_MS else 'MISSED'}")  # noqa: T201


if __name__ == "__main__":
    main()
