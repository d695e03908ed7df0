"""Trying causes: each is computed, and judged by how far it leaves the numbers from those that are to be reached.

Refuses: knowing what the causes are.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from tlab.differences.quantities import SAME, SMALLEST_SCALE, gap_of
from tlab.differences.report import Differences
from tlab.errors import TlabError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tlab.differences.quantities import Numbers

__all__ = ["Target", "Trial", "judged", "reported", "target_number", "target_numbers", "with_pairs"]


@dataclass(frozen=True)
class Trial:
    """One cause: what it is called, what it is in the one and in the other, and the numbers with it.

    Args:
        cause: its name.
        a: what it is in the one, in words.
        b: what it is in the other, in words.
        compute: the one's numbers with this changed.

    """

    cause: str
    a: str
    b: str
    compute: Callable[[], Numbers]


@dataclass(frozen=True)
class Target:
    """The numbers that are to be reached.

    Args:
        left: how far some numbers are from them.
        value: the followed one among some numbers.
        same: how far is rounding.

    """

    left: Callable[[Numbers], float]
    value: Callable[[Numbers], float]
    same: float = SAME


def target_numbers(one: Numbers, other: Numbers) -> tuple[Target, str]:
    """Return the other's numbers as a target, and a name for the one that differs most."""
    _, name, label = gap_of(one, other)
    return Target(left=lambda numbers: gap_of(numbers, other)[0], value=_follow(name, label)), _title(name, label)


def target_number(value: float, candidates: Iterable[Numbers]) -> tuple[Target, str]:
    """Return a number from elsewhere as a target, and a name for the number that is nearest to it.

    Args:
        value: the number.
        candidates: what is searched for the nearest, under the same names each time.

    """
    every = [
        (abs(float(x) - value), name, label)
        for numbers in candidates
        for name, series in numbers.items()
        for label, x in series.items()
    ]
    _, name, label = min((one for one in every if not math.isnan(one[0])), key=lambda one: one[0], default=(0, "", ""))
    follow, scale = _follow(name, label), max(SMALLEST_SCALE, abs(value))
    target = Target(
        left=lambda numbers: _or_infinite(abs(follow(numbers) - value) / scale),
        value=follow,
        same=max(SAME, _half_a_digit(value) / scale),
    )
    return target, _title(name, label)


def reported(
    names: tuple[str, str],
    base: Numbers,
    target: Target,
    quantity: str,
    *,
    b_value: float,
    trials: Iterable[Trial],
) -> Differences:
    """Judge the trials, unless there is nothing to explain.

    Args:
        names: what the one and the other are.
        base: the one's numbers.
        target: the other's.
        quantity: the followed number, in words.
        b_value: its value in the other.
        trials: the causes to try.

    """
    gap = target.left(base)
    is_same = gap <= target.same
    return Differences(
        a=names[0],
        b=names[1],
        quantity=quantity,
        a_value=target.value(base),
        b_value=b_value,
        gap=gap,
        is_same=is_same,
        frame=judged([] if is_same else trials, base, target),
    )


def with_pairs(report: Differences, pairs: Iterable[Trial], base: Numbers, target: Target) -> Differences:
    """Return the report with those pairs of causes that explain what none explains alone.

    TransformerLens both puts a token in front and centres: only together do the two explain its logits.
    """
    if report.is_same or report.causes:
        return report
    frame = judged(pairs, base, target)
    found = frame[frame["explains"] == "yes"]
    if len(found) == 0:
        return report
    return dataclasses.replace(report, frame=pd.concat([report.frame, found], ignore_index=True))


def judged(trials: Iterable[Trial], base: Numbers, target: Target) -> pd.DataFrame:
    """Compute every trial and say what came of it: `cause a b value effect left explains`."""
    before, rows = target.left(base), []
    for trial in trials:
        try:
            numbers = trial.compute()
        except (TlabError, RuntimeError, ValueError, TypeError) as error:
            # A cause that cannot be tried is no reason to be silent about the others.
            said = str(error).splitlines()[0].partition(";")[0] if str(error) else type(error).__name__
            rows.append((trial.cause, trial.a, trial.b, math.nan, math.nan, math.nan, f"not tried: {said}"))
            continue
        left = target.left(numbers)
        verdict = "yes" if left <= target.same else "partly" if left < before / 2 else "no"
        rows.append((trial.cause, trial.a, trial.b, target.value(numbers), gap_of(base, numbers)[0], left, verdict))
    return pd.DataFrame(rows, columns=["cause", "a", "b", "value", "effect", "left", "explains"])


def _follow(name: str, label: Any) -> Callable[[Numbers], float]:  # noqa: ANN401  any label of a table
    def value(numbers: Numbers) -> float:
        series = numbers.get(name)
        return math.nan if series is None or label not in series.index else float(series[label])

    return value


def _title(name: str, label: Any) -> str:  # noqa: ANN401
    parts = label if isinstance(label, tuple) else (label,)
    return name if label in ("", None) else f"{name} of {', '.join(map(repr, parts))}"


def _or_infinite(distance: float) -> float:
    return math.inf if math.isnan(distance) else distance


def _half_a_digit(value: float) -> float:
    """Return half of the last digit that a number is written with: 18.09 stands for all from 18.085 to 18.095."""
    mantissa, _, exponent = repr(float(value)).partition("e")
    decimals = len(mantissa.partition(".")[2].rstrip("0")) - int(exponent or 0)
    return float(0.5 * 10.0**-decimals)
