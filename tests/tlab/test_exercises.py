"""The judge: right answers pass, wrong ones are told what they do, and nothing that a reader types is an error."""

from __future__ import annotations

import re

import pytest
import torch

import tlab
from tlab.exercises import Verdict, check, names

pytestmark = pytest.mark.slow

_HEAD = "ablation/the-head-that-reads-france"
_MLP = "ablation/the-mlp-that-zero-wrongs"
_LAYER = "ablation/the-layer-both-tasks-need"


@pytest.fixture(autouse=True)
def _loaded(model: tlab.Model) -> None:
    """Load the model that the judge runs, once."""
    assert model.name in tlab.models()


def test_every_exercise_is_named_after_its_lesson() -> None:
    assert {_HEAD, _MLP, _LAYER} <= set(names())
    assert all(re.fullmatch(r"[a-z-]+/[a-z-]+", name) for name in names())


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [(_HEAD, "L23H4"), (_MLP, "L8.mlp"), (_LAYER, " L23.attn ")],
)
def test_a_right_answer_is_right_and_says_why(exercise: str, answer: str) -> None:
    verdict = check(exercise, answer)
    assert verdict.is_correct
    assert verdict.exercise == exercise
    assert answer.strip() in verdict.message
    assert "%" in verdict.message
    assert str(verdict).startswith("✓ Right. ")


@pytest.mark.parametrize(
    ("exercise", "answer", "hint"),
    [
        (_HEAD, "L23H0", r"Without L23H0, ' Paris' only goes from 77\.\d % to 7\d\.\d %\. Try the others"),
        (_HEAD, "L22H4", r"L22H4 is in layer 22; look among the nine heads of the layer of exercise 1"),
        (_HEAD, "L23.attn", r"expected one such as 'L\d+H0', got 'L23\.attn'"),
        (_HEAD, "L23H9", r"target outside the model: .* heads 0 to 8, got 'L23H9'"),
        (_MLP, "L7.mlp", r"Zero leaves ' Paris' 5\d\.\d %, mean 5\d\.\d %\. Look for an MLP where zero destroys"),
        (_MLP, "L11.mlp", r"L11\.mlp is the lesson's own example"),
        (_MLP, "L0.mlp", r"L0\.mlp is one of the first three"),
        (_MLP, "L8", r"expected one such as 'L7\.mlp', got 'L8'"),
        (_LAYER, "L7.attn", r"' Paris' goes from .* and ' Mary' goes from .* Both should lose at least half"),
        (_LAYER, "L1.attn", r"L1\.attn is one of the first three"),
        (_LAYER, "L23", r"expected one such as 'L7\.attn', got 'L23'"),
    ],
)
def test_a_plausible_wrong_answer_is_not_yet_right_and_gets_a_hint(exercise: str, answer: str, hint: str) -> None:
    verdict = check(exercise, answer)
    assert not verdict.is_correct
    assert re.search(hint, verdict.message), verdict.message
    assert str(verdict).startswith("✗ Not yet. ")


class _Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text for this")

    __repr__ = __str__


@pytest.mark.parametrize(
    "answer",
    [
        None,
        23,
        float("nan"),
        "",
        " ",
        "the fourth head",
        "l23h4",
        "L23H4, L23H5",
        "L-1H2",
        "L23H" + "9" * 5000,
        "x" * 100_000,
        "<script>alert(1)</script>",
        "\ud800",
        b"L23H4",
        ["L23H4"],
        {"layer": 23, "head": 4},
        (23, 4),
        torch.zeros(2, 2),
        tlab,
        ...,
        _Unprintable(),
    ],
    ids=lambda answer: type(answer).__name__,
)
@pytest.mark.parametrize("exercise", [_HEAD, _MLP, _LAYER])
def test_an_unreadable_answer_is_not_yet_right_and_never_an_error(exercise: str, answer: object) -> None:
    verdict = check(exercise, answer)
    assert isinstance(verdict, Verdict)
    assert not verdict.is_correct
    assert len(verdict.message) < 400
    assert set(verdict._repr_mimebundle_()) == {"text/html", "text/plain"}
