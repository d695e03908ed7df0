"""`python -m benchmarks.page_weight`: what a page costs before anything is run, on loopback, in a throttled Chromium.

Each page is opened in a fresh browser context with the processor slowed down four times and nothing cached. Scripts are
counted as they would travel compressed (gzip, level 9). Blocking time is the part of each long task beyond 50 ms, from
the first contentful paint on: before it there is nothing that a reader could press (https://web.dev/articles/tbt).
"""

from __future__ import annotations

import argparse
import gzip
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from benchmarks.served_book import SITE, served_book
from book.browser import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

__all__ = ["PageCost", "cost_of", "main"]

_PAGES = (
    "index.html",
    "lessons/tour.html",
    "lessons/ablation.html",
    "book/how-to/logit_lens.html",
    "book/reference/looking.html",
    "book/glossary.html",
    "kb/documents/self-attention.html",
)
_SLOWER = 4
_SETTLED_MS = 1500
_WINDOW_MS = 2500
_LONG_MS = 50
_MOST = {"script_kb": 150.0, "html_kb": 500.0, "lcp_s": 1.0, "tbt_ms": 100.0, "foreign": 0.0, "errors": 0.0}
# plotly comes when the reader turns to a figure, or where one without a picture comes into view; it is counted apart.
_WHEN_VISIBLE = ("plotly.min.js", "plotly-cartesian.min.js")
_OBSERVE = """() => {
  window.measured = { lcp: 0, fcp: 0, tasks: [] };
  new PerformanceObserver(list => {
    for (const entry of list.getEntries()) window.measured.lcp = entry.startTime;
  }).observe({ type: 'largest-contentful-paint', buffered: true });
  new PerformanceObserver(list => {
    for (const { startTime, duration } of list.getEntries())
      window.measured.tasks.push([startTime, startTime + duration]);
  }).observe({ type: 'longtask', buffered: true });
  new PerformanceObserver(list => {
    for (const entry of list.getEntriesByName('first-contentful-paint')) window.measured.fcp = entry.startTime;
  }).observe({ type: 'paint', buffered: true });
}"""


@dataclass(frozen=True)
class PageCost:
    """What one opening of a page cost; sizes in kB of 1000 bytes."""

    script_kb: float
    html_kb: float
    lcp_s: float
    tbt_ms: float
    foreign: float
    errors: float
    when_visible_kb: float


def cost_of(browser: Browser, address: str, path: str) -> PageCost:
    """Open one page in a fresh context and measure it until it has settled."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    try:
        page = context.new_page()
        # A new window draws its own frame for a second, in a process of its own that takes the page's time.
        page.wait_for_timeout(_WINDOW_MS)
        context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": _SLOWER})
        page.add_init_script(f"({_OBSERVE})()")
        asked: list[Request] = []
        errors: list[str] = []
        page.on("request", lambda request: asked.append(request))  # noqa: PLW0108  playwright marks its handlers
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(address + path, wait_until="load")
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(_SETTLED_MS)
        return _read(page, asked, errors, address)
    finally:
        context.close()


def _read(page: Page, asked: list[Request], errors: list[str], address: str) -> PageCost:
    measured = page.evaluate("() => window.measured")
    scripts = {request.url for request in asked if request.resource_type == "script"}
    late = {url for url in scripts if urlsplit(url).path.endswith(_WHEN_VISIBLE)}
    foreign = [request.url for request in asked if not request.url.startswith((address, "data:", "blob:", "about:"))]
    return PageCost(
        script_kb=sum(map(_travelling_kb, scripts - late)),
        html_kb=len(_file(page.url).read_bytes()) / 1000,
        lcp_s=measured["lcp"] / 1000,
        tbt_ms=_blocking_ms(measured["tasks"], measured["fcp"]),
        foreign=len(foreign),
        errors=len(errors),
        when_visible_kb=sum(map(_travelling_kb, late)),
    )


def _blocking_ms(tasks: list[tuple[float, float]], first_paint: float) -> float:
    return sum(max(0.0, end - max(start, first_paint) - _LONG_MS) for start, end in tasks)


def _file(url: str) -> Path:
    return SITE / urlsplit(url).path.lstrip("/")


def _travelling_kb(url: str) -> float:
    return len(gzip.compress(_file(url).read_bytes(), 9)) / 1000


def _median(rounds: list[PageCost]) -> PageCost:
    fields = PageCost.__dataclass_fields__
    return PageCost(**{name: statistics.median(getattr(cost, name) for cost in rounds) for name in fields})


def main() -> None:
    """Measure every kind of page and print a table with what misses its target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="openings of each page, of which the median counts")
    parser.add_argument("--pages", nargs="+", default=list(_PAGES), help="paths below the site")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, served_book(Path(folder)) as address, chromium() as browser:
        cost_of(browser, address, options.pages[0])  # the first page after a start also warms the browser
        costs = {
            path: _median([cost_of(browser, address, path) for _ in range(options.rounds)]) for path in options.pages
        }
    names = list(PageCost.__dataclass_fields__)
    print(f"{'':36}" + "".join(f"{name:>16}" for name in names))  # noqa: T201  a benchmark speaks
    for path, cost in costs.items():
        print(f"{path:36}" + "".join(f"{getattr(cost, name):>16.1f}" for name in names))  # noqa: T201
    print(f"{'at most':36}" + "".join(f"{_MOST[name]:>16.1f}" for name in names if name in _MOST))  # noqa: T201
    missed = [
        f"{path}: {name} {getattr(cost, name):.1f}, at most {most:.0f}"
        for path, cost in costs.items()
        for name, most in _MOST.items()
        if getattr(cost, name) > most
    ]
    print("\n".join(["MISSED", *missed]) if missed else "all targets met")  # noqa: T201


if __name__ == "__main__":
    main()
