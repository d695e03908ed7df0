"""What `generate` refuses, and what it writes in the pretrained model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tlab.engine import Edit
from tlab.errors import UnknownOption, UnknownTarget, UnusablePrompt
from tlab.experiments.generate import generate

if TYPE_CHECKING:
    from tlab import Model


_PROMPT = "The cat sat on"


# Mistakes.
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens refused: expected a whole number from 1 to"),
        ({"max_new_tokens": True}, "max_new_tokens refused"),
        ({"temperature": -0.5}, "temperature refused: expected 0 or more, got -0.5"),
        ({"temperature": math.nan}, "temperature refused: expected a finite number, got nan"),
        ({"temperature": 1.0, "top_k": 0}, "top_k refused"),
        ({"temperature": 1.0, "top_p": 0.0}, "top_p refused: expected a probability above 0 and at most 1, got 0.0"),
        ({"seed": -1}, "seed refused"),
        ({"method": "all"}, "method refused"),
        ({"n_alternatives": 0}, "n_alternatives refused"),
        ({"vector": torch.zeros(5), "layer": 1}, r"vector refused: expected 32 numbers, .* got shape \(5,\)"),
        ({"vector": "up", "layer": 1}, "vector refused: .* got 'up'"),
        ({"vector": torch.full((32,), math.nan), "layer": 1}, "vector refused: expected finite numbers"),
        ({"vector": torch.zeros(32), "layer": 1, "coef": "big"}, "coef refused"),
        ({"vector": torch.zeros(32), "layer": 1, "positions": "first"}, "positions refused: expected 'all', 'prompt'"),
        ({"vector": torch.zeros(32), "layer": 1, "positions": [99]}, "position refused: .* got 99"),
        ({"vector": torch.zeros(32), "layer": 1, "positions": None}, "positions refused"),
        ({"edits": [torch.relu]}, "edits refused: expected a list of tlab.engine.Edit"),
        (
            {"edits": [Edit("blocks.0.resid_post", lambda x: x, positions=(14,))]},
            "edit refused: expected positions of the prompt, from 0 to 13, got 14",
        ),
    ],
)
def test_an_option_that_cannot_be_is_refused_in_one_sentence(
    llama: Model, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnknownOption, match=message) as refusal:
        generate(llama, _PROMPT, **options)
    assert "\n" not in str(refusal.value)
    assert "; " in str(refusal.value)


def test_a_part_that_is_not_there_is_refused(llama: Model) -> None:
    with pytest.raises(UnknownTarget, match="layer refused: expected a whole number from 0 to 2, got None"):
        generate(llama, _PROMPT, vector=torch.zeros(32))
    with pytest.raises(UnknownTarget, match=r"layer refused: .* got 3"):
        generate(llama, _PROMPT, vector=torch.zeros(32), layer=3)
    with pytest.raises(UnknownTarget, match="got 'L9H9'"):
        generate(llama, _PROMPT, ablate="L9H9")
    with pytest.raises(UnusablePrompt, match="prompt unusable"):
        generate(llama, "")


@pytest.mark.slow
def test_the_pretrained_model_writes_what_hugging_face_writes(model: Model) -> None:
    prompt = "When Mary and John went to the store, John gave a drink to"
    found = generate(model, prompt, max_new_tokens=12)
    ids = model.to_ids(prompt)[None]
    theirs = model.hf.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, pad_token_id=0
    )
    assert list(found.ids) == theirs[0, ids.shape[1] :].tolist()
    assert found.continuation.startswith(" Mary")
