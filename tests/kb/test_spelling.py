"""Misspelt words are repaired towards the corpus; words that are right are left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb.spelling import Spelling, slips

CORPUS = {"attention": 9, "residual": 5, "mask": 4, "past": 3, "stream": 5, "streams": 1, "causal": 2, "d_model": 7}
SPELLING = Spelling(CORPUS, {"pasta", "weather", "team"})


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("atention", "attention"),
        ("attnetion", "attention"),
        ("residaul strem", "residual stream"),
        ("maks", "mask"),
        ("What is cuasal?", "What is causal?"),
        ("pasta", "pasta"),
        ("weather", "weather"),
        ("team", "team"),
        ("cat", "cat"),
        ("bask", "bask"),
        ("xylophone", "xylophone"),
        ("d_model L3H4 0.77", "d_model L3H4 0.77"),
        ("", ""),
    ],
)
def test_repair(written: str, meant: str) -> None:
    assert SPELLING.repair(written) == meant


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_slips_are_symmetric_and_bounded(one: str, other: str) -> None:
    count = slips(one, other, 9)
    assert count == slips(other, one, 9)
    assert (count == 0) == (one == other)
    assert abs(len(one) - len(other)) <= count <= max(len(one), len(other))
    assert slips(one, other, 1) == min(count, 2)
