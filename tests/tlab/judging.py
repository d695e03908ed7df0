"""What several tests ask of results: that two are the same, and that one presents itself in every form."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import Any

import pandas as pd
import torch
from torch.testing import assert_close

from tlab.manifest import Manifest
from tlab.metrics import Metric
from tlab.results import Result

__all__ = ["assert_presents_itself", "assert_same"]


def assert_same(one: Any, other: Any) -> None:  # noqa: ANN401  whatever results hold
    """Compare two values of the kinds that results hold, exactly."""
    if isinstance(one, Result | Metric | Manifest):
        assert type(one) is type(other)
        for field in fields(one):  # type: ignore[arg-type]  all of them are dataclasses
            assert_same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, torch.Tensor):
        assert_close(other, one, rtol=0, atol=0, equal_nan=True)
    elif isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other, check_dtype=False)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key, value in one.items():
            assert_same(value, other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for mine, yours in zip(one, other, strict=True):
            assert_same(mine, yours)
    else:
        assert one == other or (one != one and other != other)  # noqa: PLR0124  no number equals itself but those that are none


def assert_presents_itself(result: Result) -> None:
    """Ask for a table that nobody can spoil, a sentence, and a picture with named axes and no live markup."""
    frame, before = result.to_frame(), result.to_frame().copy()
    assert len(frame) > 0
    frame.iloc[:, -1] = frame.iloc[:, -1].iloc[0]
    pd.testing.assert_frame_equal(result.to_frame(), before)
    assert re.fullmatch(r"[A-Z0-9][^\n]*\.", result.explain())
    assert not {"nan", "inf"} & set(result.explain().split())
    picture = result.plot()
    assert picture.layout.title.text
    assert picture.layout.xaxis.title.text
    assert picture.layout.yaxis.title.text
    assert "<b>" not in json.dumps(json.loads(picture.to_json()), allow_nan=False)
    assert result.text().startswith(result.explain())
