"""Numbers as the Lab sends them: four significant digits, and nothing that JSON cannot hold.

Refuses: deciding what is sent.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

__all__ = ["digits", "row"]

_DIGITS = 4


def digits(value: Any, n: int = _DIGITS) -> Any:  # noqa: ANN401  a number, or lists of them
    """Return a number, or lists of numbers, with `n` significant digits; `None` for what is no finite number."""
    if isinstance(value, Tensor):
        return digits(value.tolist(), n)
    if isinstance(value, list | tuple):
        return [digits(one, n) for one in value]
    number = float(value)
    if not math.isfinite(number):
        return None
    short = float(f"{number:.{n}g}")
    # 5 says the same as 5.0, and -0.0 reads like a mistake.
    return int(short) if short == int(short) and abs(short) < 10**n else short


def row(value: Any) -> list[Any]:  # noqa: ANN401  a table's column, or a tensor
    """Return a column of numbers as a list of short ones."""
    return [digits(one) for one in value.tolist()]
