"""`why_different`: the cause that makes one number into the other is named, and no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

import tlab
from tlab.errors import UnknownOption

if TYPE_CHECKING:
    from tlab import Model

PROMPT = "bone coat fan bone coat"


@pytest.fixture(scope="module")
def toy() -> Model:
    """Load the induction model: small, and trained."""
    return tlab.load("toy-induction")


def test_another_prompt_is_the_cause(toy: Model) -> None:
    found = tlab.why_different(tlab.predict(toy, PROMPT), tlab.predict(toy, "bone coat fan bone cat"))
    assert len(found.causes) == 1
    assert found.causes[0].startswith("prompt")
    assert found.to_frame()["explains"].tolist() == ["yes"]


def test_another_seed_is_the_cause(toy: Model) -> None:
    one, other = (tlab.ablate(toy, PROMPT, "L0H2", method="resample", seed=seed) for seed in (0, 1))
    assert one.patched_probability != other.patched_probability
    assert any("seed" in cause for cause in tlab.why_different(one, other).causes)


def test_the_same_numbers_need_no_cause(toy: Model) -> None:
    found = tlab.why_different(tlab.predict(toy, PROMPT), tlab.predict(toy, PROMPT))
    assert found.causes == ()
    assert "nothing to explain" in found.explain()


def test_other_weights_are_the_cause(toy: Model) -> None:
    earlier = tlab.load("toy-induction", step=960)
    with torch.no_grad():
        gap = float((toy.hf(toy.to_ids(PROMPT)[None]).logits - earlier.hf(toy.to_ids(PROMPT)[None]).logits).abs().max())
    assert gap > 0.1
    found = tlab.why_different(toy, earlier, prompt=PROMPT)
    assert any("weights" in cause for cause in found.causes)


@pytest.mark.parametrize("other", ["a text", None, True])
def test_what_cannot_be_compared_is_refused(toy: Model, other: object) -> None:
    with pytest.raises(UnknownOption, match="comparison refused: expected two results, two models"):
        tlab.why_different(tlab.predict(toy, PROMPT), other)


def test_a_model_needs_a_prompt(toy: Model) -> None:
    with pytest.raises(UnknownOption, match="expected a prompt for the model, got none"):
        tlab.why_different(toy, toy)
