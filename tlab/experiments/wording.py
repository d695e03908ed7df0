"""Turns of phrase that several explanations share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlab.results import Result

__all__ = ["counted", "exactly", "percent_range", "without_controls"]


def counted(n: int, noun: str) -> str:
    """Return a number with its noun: `1 token`, `2 tokens`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def percent_range(low: float, high: float, *, digits: int = 0) -> str:
    """Return two shares as a range of percentages: `-2 % to 5 %`, and never `-0 %`."""
    return f"{_rounded(low, digits)} to {_rounded(high, digits)}"


def _rounded(share: float, digits: int) -> str:
    text = f"{100 * share:.{digits}f}"
    return f"{text.removeprefix('-') if float(text) == 0 else text} %"


def without_controls(result: Result) -> str:
    """Return a sentence that says why no control stands beside, if one was asked for; otherwise nothing."""
    asked = result.manifest.arguments.get("controls", 0) if result.manifest else 0
    return " The model has too few other parts of that kind for a random control." if asked else ""


def exactly(error: float) -> str:
    """Return how well an identity holds: `exactly`, or `to within a relative error of 2e-07`."""
    return "exactly" if error == 0 else f"to within a relative error of {error:.0e}"
