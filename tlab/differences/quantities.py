"""The numbers in a result or a run, side by side with another's: how far apart they are, and where most.

Refuses: running anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch import Tensor

from tlab.results import Result

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SAME", "SMALLEST_SCALE", "Numbers", "gap_of", "headline", "numbers_of"]

# Name of a field → its numbers, each under the label by which the same number is found in another result.
Numbers = dict[str, pd.Series]

# Shares of the largest number beside it: what is rounding, and what is too small to divide by.
SAME = 1e-4
SMALLEST_SCALE = 1e-3
_LARGEST_TENSOR = 2_000_000


def numbers_of(value: Any, name: str = "") -> Numbers:  # noqa: ANN401  whatever a result holds
    """Return all numbers with a fraction in a result, a table, a tensor, or a collection of them."""
    if isinstance(value, float):
        return {name: pd.Series([value], index=[""])}
    if isinstance(value, Tensor):
        usable = value.is_floating_point() and value.numel() <= _LARGEST_TENSOR
        # The shape is part of the name: numbers of other shapes are other numbers.
        title = f"{name} {'×'.join(map(str, value.shape))}".strip()
        return {title: pd.Series(value.detach().double().flatten().cpu().numpy())} if usable else {}
    if isinstance(value, pd.DataFrame):
        return _in_frame(value, name)
    parts: dict[str, Any] = {}
    if isinstance(value, Result):
        parts = {f"{name}{'.' * bool(name)}{one.name}": getattr(value, one.name) for one in fields(value)}  # type: ignore[arg-type]
    elif isinstance(value, Mapping):
        parts = {f"{name}[{key}]": part for key, part in value.items()}
    elif isinstance(value, tuple | list):
        parts = {f"{name}[{index}]": part for index, part in enumerate(value)}
    return _together(numbers_of(part, key) for key, part in parts.items())


def headline(result: Result) -> Numbers:
    """Return the numbers that a result is quoted with: those that stand alone, and the first row of its table."""
    found: Numbers = {}
    for one in fields(result):  # type: ignore[arg-type]
        value = getattr(result, one.name)
        if isinstance(value, float | pd.DataFrame):
            found |= {name: series[:1] for name, series in numbers_of(value, one.name).items()}
    return found


def gap_of(one: Numbers, other: Numbers) -> tuple[float, str, Any]:
    """Return the largest distance, as a share of the largest number beside it, and the name and label where it is."""
    found: tuple[float, str, Any] = (math.inf, "", None)
    for name in one.keys() & other.keys():
        x, y = one[name], other[name]
        if not x.index.equals(y.index):
            common = x.index.intersection(y.index)
            x, y = x[common], y[common]
        if len(x) == 0:
            continue
        apart = (x - y).abs().mask((x == y) | (x.isna() & y.isna()), 0.0).fillna(math.inf)
        finite = pd.concat([x, y]).abs().replace(math.inf, math.nan)
        share = apart / max(SMALLEST_SCALE, float(finite.max(skipna=True)) if finite.notna().any() else 0.0)
        at = share.idxmax()
        if not found[1] or (float(share[at]), name) > found[:2]:
            found = (float(share[at]), name, at)
    return found


def _in_frame(frame: pd.DataFrame, name: str) -> Numbers:
    columns = [column for column in frame if pd.api.types.is_float_dtype(frame[column])]
    texts = [column for column in frame if pd.api.types.is_string_dtype(frame[column])]
    counts = [column for column in frame if pd.api.types.is_integer_dtype(frame[column])]
    # Some tokens have the same text, but never the same id; a rank is no name, as it may be what differs.
    ids = [column for column in counts if str(column).endswith("_id")]
    for keys in (texts, texts + ids, texts + counts):
        if keys and not frame.duplicated(keys).any():
            index: Any = (
                frame[keys[0]].tolist() if len(keys) == 1 else list(frame[keys].itertuples(index=False, name=None))
            )
            break
    else:
        index = range(len(frame))
    labels = pd.Index(index, tupleize_cols=False)
    return {f"{name}.{column}": pd.Series(frame[column].to_numpy(dtype=float), index=labels) for column in columns}


def _together(parts: Iterable[Numbers]) -> Numbers:
    return {name: series for part in parts for name, series in part.items()}
