"""What was tried to make the one number into the other, and what came of it.

Refuses: trying.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlab.results import Result

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Differences"]

_TRIED = ("yes", "partly", "no")


@dataclass(frozen=True, eq=False, repr=False)
class Differences(Result):
    """Every cause that was tried, and what became of the number with it.

    Args:
        a: what the one is.
        b: what the other is.
        quantity: the number that is followed: the one that differs most, or the one that was compared.
        a_value: its value in the one.
        b_value: its value in the other.
        gap: how far the two lie apart in all numbers, as a share of the largest beside it; infinite if none of them
            can be compared.
        is_same: whether that is rounding.
        frame: `cause a b value effect left explains`: what is changed in `a`, from what to what; the followed number
            with it; how far that moves the numbers; how far they then are from b's; and whether that is nothing:
            `yes`, `partly` (less than half is left), `no`, or why it could not be tried.

    """

    a: str
    b: str
    quantity: str
    a_value: float
    b_value: float
    gap: float
    is_same: bool
    frame: pd.DataFrame

    @property
    def causes(self) -> tuple[str, ...]:
        """The causes that explain the difference, each by itself."""
        return tuple(self.frame.loc[self.frame["explains"] == "yes", "cause"])

    def to_frame(self) -> pd.DataFrame:
        """Return `cause a b value effect left explains`, one row a cause."""
        return self.frame.copy()

    def _twin_frame(self) -> pd.DataFrame:
        # What explains comes first, since the text shows the first rows only.
        order = {name: rank for rank, name in enumerate(_TRIED)}
        ranks = [order.get(verdict, len(order)) for verdict in self.frame["explains"]]
        frame = self.frame.assign(rank=ranks).sort_values("rank", kind="stable").drop(columns=["rank", "effect"])
        return frame.assign(**{name: [f"{value:.4g}" for value in frame[name]] for name in ("value", "left")})

    def text(self) -> str:
        """Return the text twin: the explanation, and the first rows of the table if anything was tried."""
        return super().text() if len(self.frame) else self.explain()

    def explain(self) -> str:
        """Say what the cause is, or that it is none of those that were tried."""
        both = f"{self.quantity} is {self.a_value:.6g} in {self.a} and {self.b_value:.6g} in {self.b}"
        if self.is_same:
            return f"There is nothing to explain: {both}, the same up to rounding."
        tried = self.frame[self.frame["explains"].isin(_TRIED)]
        counted = "1 cause was computed" if len(tried) == 1 else f"{len(tried)} causes were computed, each alone"
        rest = f"{counted}; one that is not among them this does not show."
        if self.causes:
            said = "; or ".join(
                f"{row['cause']} (from {row['a']} to {row['b']}), with which it becomes {row['value']:.6g}"
                for _, row in self.frame[self.frame["explains"] == "yes"].iterrows()
            )
            return f"The cause is {said}. Without it, {both}. {rest}"
        if len(tried) == 0:
            return f"No cause was found that could be tried: {both}."
        nearest = tried.loc[tried["left"].idxmin()]
        return (
            f"None of the usual causes explains it: {both}. The nearest is {nearest['cause']}, with which it becomes "
            f"{nearest['value']:.6g}. {rest}"
        )
