"""What a caller gave, as Python's own values: whole numbers, finite numbers, seeds, containers that nobody else holds.

Refuses: knowing what a value is for.
"""

from __future__ import annotations

import math
import numbers
import operator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlab.errors import NotFinite, TlabError, UnknownOption, shown

__all__ = ["checked_seed", "finite_number", "plain", "whole", "whole_number"]

_HIGHEST_SEED = 2**63 - 1
# A tensor that is larger is shared instead of copied: 4 MB in float32.
_LARGEST_COPY = 10**6


def whole(value: object) -> int | None:
    """Return a whole number of any library as Python's own; `None` if it is none, or says yes or no."""
    # A tensor with an axis is a list, though it holds one number.
    is_other = isinstance(value, Tensor) and (value.dim() > 0 or value.dtype == torch.bool)
    if is_other or isinstance(value, bool | np.bool_):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def whole_number(
    name: str,
    value: object,
    lowest: int,
    highest: int,
    repair: str,
    *,
    kind: type[TlabError] = UnknownOption,
) -> int:
    """Return a whole number within its bounds.

    Raises:
        UnknownOption: it is none, or lies outside; `kind` if another kind of error is asked for.

    """
    number = whole(value)
    if number is not None and lowest <= number <= highest:
        return number
    raise kind(f"{name} refused: expected a whole number from {lowest} to {highest}, got {shown(value)}; {repair}")


def checked_seed(seed: object) -> int:
    """Return a seed that every source of random numbers takes.

    Raises:
        UnknownOption: it is no whole number from 0 to 2⁶³ - 1.

    """
    return whole_number("seed", seed, 0, _HIGHEST_SEED, "try seed=0")


def finite_number(name: str, value: object) -> float:
    """Return a finite number.

    Raises:
        NotFinite: it is a number, and infinite or none.
        UnknownOption: it is something else.

    """
    number = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_) else None
    if number is not None and math.isfinite(number):
        return number
    kind = UnknownOption if number is None else NotFinite
    raise kind(f"{name} refused: expected a finite number, got {shown(value)}; try {name}=1.0")


def plain(value: Any) -> Any:  # noqa: ANN401, PLR0911  one return a kind of value
    """Return an argument as it can be noted: single numbers as Python's own, containers and small tensors copied.

    What is used up by reading it, and what is large or unknown, is returned as it is.
    """
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, torch.device):
        return str(value)
    if type(value) in {list, tuple, set, frozenset}:
        return type(value)(plain(one) for one in value)
    if type(value) is dict:
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, Tensor) and value.dim() == 0:
        return value.item()
    if isinstance(value, Tensor) and value.numel() <= _LARGEST_COPY:
        return value.detach().clone()
    return value
