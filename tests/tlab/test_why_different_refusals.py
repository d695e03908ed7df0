"""What `why_different` refuses, and what it finds in the pretrained model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import torch

import tlab
from tlab.differences import why_different
from tlab.errors import DamagedResult, UnknownOption
from tlab.experiments.predict import Prediction
from tlab.results import Result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tlab import Model


_PROMPT = "The cat sat"


# What cannot be compared.


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m: why_different(1.0, tlab.predict(m, "a")),
            r"expected two results, .*, got float and Prediction; give",
        ),
        (lambda m: why_different(tlab.predict(m, "a"), True), r"got Prediction and bool; give the result or the model"),  # noqa: FBT003  it is the case
        (
            lambda m: why_different(tlab.predict(m, "a"), m),
            r"got Prediction and Model; give the result or the model first",
        ),
        (
            lambda m: why_different(tlab.predict(m, "a"), 0.5, quantity="chance"),
            r"expected one of frame\.probability, frame\.logit as quantity, got 'chance'; leave it out for the nearest",
        ),
        (lambda m: why_different(m, 1.0), r"expected a prompt for the model, got none; add prompt="),
        (lambda m: why_different(m, 1.0, prompt="a"), r"expected a token whose number it is, got none; add token="),
        (
            lambda m: why_different(m, torch.zeros(3), prompt="a"),
            r"expected logits of the shape d_vocab or pos d_vocab, with 257 tokens, got \(3,\); take one row",
        ),
        (
            lambda m: why_different(m, torch.zeros(2, 3, 257), prompt="a"),
            r"expected logits of the shape .*, got \(2, 3, 257\); take one row of the batch",
        ),
        (
            lambda m: why_different(tlab.predict(m, "a"), tlab.attention(m, "a")),
            r"expected two results of one experiment, got predict and attention; run the same experiment twice",
        ),
        (
            lambda m: why_different(Prediction("a", pd.DataFrame({"p": [1.0]})), tlab.predict(m, "a")),
            r"expected a result that an experiment made, got Prediction without a note of how; run the experiment",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(llama: Model, call: Callable[[Model], object], message: str) -> None:
    with pytest.raises(UnknownOption, match=rf"comparison refused: .*{message}"):
        call(llama)


def test_a_result_of_no_experiment_of_tlabs_is_refused(llama: Model) -> None:
    one = tlab.predict(llama, _PROMPT)
    assert one.manifest is not None
    one.attach(replace(one.manifest, verb="os.system"))
    with pytest.raises(DamagedResult, match="manifest unreadable"):
        why_different(one, 0.5)


def test_a_comparison_is_a_result_that_can_be_saved_and_drawn(llama: Model, tmp_path: Path) -> None:
    report = why_different(tlab.predict(llama, _PROMPT), tlab.predict(llama, f"{_PROMPT} "))
    frame = report.to_frame()
    assert list(frame.columns) == ["cause", "a", "b", "value", "effect", "left", "explains"]
    loaded = Result.load(report.save(tmp_path / "differences.tlab"))
    assert loaded.explain() == report.explain()
    pd.testing.assert_frame_equal(loaded.to_frame(), frame)
    assert report.plot().data
    assert "a cause" not in report.text().split("\n\n")[1]


@pytest.mark.slow
def test_what_a_lesson_reads_elsewhere_is_led_back_to_a_space(model: Model) -> None:
    one, two = (tlab.predict(model, text) for text in ("The capital of France is", "The capital of France is "))
    assert why_different(one, two).causes == ("prompt: space at the end",)
    every = tlab.predict(model, "The capital of France is ", k=model.d_vocab).to_frame().set_index("token")
    paris = float(every.loc[[" Paris"], "probability"].iloc[0])
    assert "prompt: space at the end" in why_different(one, paris).causes
