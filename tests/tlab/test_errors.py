"""Values in messages, codes of errors, and numbers that are none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.testing import assert_close

import tlab
from tlab import errors
from tlab.engine import Edit, run
from tlab.errors import (
    TlabError,
    UnknownSite,
    UnusableEdit,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from tlab import Model


_PROMPT = "The cat"


_LONG = "x" * 10_000


def _edited(model: Model, site: str, function: Callable[[Tensor], Any], **chosen: tuple[int, ...]) -> object:
    return run(model, model.to_ids(_PROMPT), edits=[Edit(site, function, **chosen)])


def test_a_shortened_value_fits_and_says_so() -> None:
    assert errors.shown("ab") == "'ab'"
    shortened = errors.shown(_LONG)
    assert len(shortened) == 80
    assert shortened.endswith("…")


def test_codes_are_stable_and_distinct() -> None:
    kinds = [getattr(errors, name) for name in errors.__all__ if isinstance(getattr(errors, name), type)]
    assert all(issubclass(kind, TlabError) for kind in kinds)
    codes = [kind.code for kind in kinds]
    assert len(set(codes)) == len(codes)
    assert sorted(codes) == [
        "tlab-damaged-model-cache",
        "tlab-damaged-result",
        "tlab-error",
        "tlab-missing-model-source",
        "tlab-missing-package",
        "tlab-model-too-large",
        "tlab-not-finite",
        "tlab-too-large-for-page",
        "tlab-unequal-prompts",
        "tlab-unknown-exercise",
        "tlab-unknown-model",
        "tlab-unknown-option",
        "tlab-unknown-site",
        "tlab-unknown-target",
        "tlab-unsupported-model",
        "tlab-unusable-argument",
        "tlab-unusable-dtype",
        "tlab-unusable-edit",
        "tlab-unusable-prompt",
        "tlab-unusable-question",
        "tlab-unusable-token",
    ]


def test_a_site_that_only_other_models_have_is_unknown(tiny_folders: dict[str, Path]) -> None:
    gpt2 = tlab.load(str(tiny_folders["gpt2"]))
    assert "blocks.0.mlp.pre_linear" not in gpt2.sites
    with pytest.raises(UnknownSite, match=r"site unknown: .*, got 'blocks\.0\.mlp\.pre_linear'; list them with model"):
        tlab.capture(gpt2, _PROMPT, sites=["blocks.0.mlp.pre_linear"])


def test_a_run_of_an_unknown_site_names_it(llama: Model) -> None:
    with pytest.raises(UnknownSite, match=r"got 'embedding'; list them with model\.sites"):
        run(llama, llama.to_ids(_PROMPT), sites=["embedding"])


def test_scores_of_minus_infinity_are_how_reading_is_forbidden(llama: Model) -> None:
    def forbid(scores: Tensor) -> Tensor:
        scores[..., 1:, 0] = float("-inf")
        return scores

    finished = run(
        llama, llama.to_ids(_PROMPT), sites=["blocks.1.attn.pattern"], edits=[Edit("blocks.1.attn.scores", forbid)]
    )
    pattern = finished.captured["blocks.1.attn.pattern"]
    assert not pattern[..., 1:, 0].any()
    assert_close(pattern.sum(-1), torch.ones(pattern.shape[:-1]))


def test_large_numbers_are_numbers(llama: Model) -> None:
    # Their sum is no number any more, and nothing is wrong with them.
    run(llama, llama.to_ids(_PROMPT), edits=[Edit("blocks.1.attn.z", lambda tensor: torch.full_like(tensor, 3e38))])


def test_a_number_too_large_for_the_models_dtype_is_refused(tiny_folders: dict[str, Path]) -> None:
    narrow = tlab.load(tiny_folders["llama-grouped"], dtype=torch.bfloat16)
    with pytest.raises(UnusableEdit, match=r"got 224 of 224 that are not at .*, or a number too large for bfloat16"):
        _edited(narrow, "blocks.1.attn.z", lambda tensor: torch.full(tensor.shape, 1e300, dtype=torch.float64))
