"""What sparse autoencoders refuse: every message word for word where it counts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tlab import sae as saes
from tlab.errors import TlabError, UnknownOption, UnknownSite, UnknownTarget, UnusablePrompt

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlab import Model
    from tlab.sae import Sae

_SITE = "blocks.1.resid_post"
_PROMPT = "The cat sat on 12 mats"
_TEXTS = (
    "The train left the station a few minutes after nine, and nobody waved.",
    "Water boils at a lower temperature on a mountain because the air is thinner there.",
)


@pytest.fixture(scope="module")
def sae(llama: Model) -> Sae:
    """Train a small autoencoder on a small model."""
    return saes.train(llama, _TEXTS, site=_SITE, n_features=96, k=6, steps=5, batch=64)


_REFUSED: list[tuple[str, Callable[[Any, Any], object], type[TlabError], str]] = [
    (
        "one text for a list",
        lambda model, _: saes.train(model, "The cat sat."),
        UnknownOption,
        r"texts refused: expected a list of texts, got 'The cat sat\.'; put them in brackets",
    ),
    (
        "too little text",
        lambda model, _: saes.train(model, ["The cat"], site=_SITE),
        UnknownOption,
        r"texts refused: expected at least 2 pieces of two tokens or more, got 1; give more text",
    ),
    (
        "an empty text",
        lambda model, _: saes.train(model, ["The cat", ""], site=_SITE),
        UnusablePrompt,
        r"prompt unusable: expected a text of at least one character, got ''; ",
    ),
    (
        "a layer too many",
        lambda model, _: saes.train(model, _TEXTS, site="blocks.15.resid_post"),
        UnknownSite,
        r"site unknown: expected a block from 0 to 2, got 'blocks\.15\.resid_post'; count layers from 0",
    ),
    (
        "a site of attention maps",
        lambda model, _: saes.train(model, _TEXTS, site="blocks.1.attn.pattern"),
        UnknownSite,
        r"site unusable: expected one vector at every position, got the axes batch head dest_pos src_pos at .*; take",
    ),
    (
        "two ways to be sparse",
        lambda model, _: saes.train(model, _TEXTS, site=_SITE, k=3, l1=0.1),
        UnknownOption,
        r"sparsity refused: expected k or l1, got both, k=3 and l1=0\.1; leave one of them out",
    ),
    (
        "more active features than there are",
        lambda model, _: saes.train(model, _TEXTS, site=_SITE, n_features=8, k=9),
        UnknownOption,
        r"k refused: expected a whole number from 1 to 8, got 9; try k=8",
    ),
    (
        "no steps",
        lambda model, _: saes.train(model, _TEXTS, site=_SITE, steps=0),
        UnknownOption,
        r"steps refused: expected a whole number from 1 to 1000000000, got 0; try steps=1000",
    ),
    (
        "a price of nothing",
        lambda model, _: saes.train(model, _TEXTS, site=_SITE, l1=float("nan")),
        UnknownOption,
        r"l1 refused: expected a number between 0 and 100, got nan; try l1=0\.1",
    ),
    (
        "a context beyond the model's",
        lambda model, _: saes.train(model, _TEXTS, site=_SITE, context=97),
        UnknownOption,
        r"context refused: expected a whole number from 2 to 96, got 97; try context=96",
    ),
    (
        "a device that is not there",
        lambda model, _: saes.train(model, _TEXTS, site=_SITE, device="abacus"),
        UnknownOption,
        r"device refused: expected one that torch can use here, got 'abacus'; try device='cpu'",
    ),
    (
        "no autoencoder",
        lambda model, _: saes.encode(model, _PROMPT, "sae.zip"),
        UnknownOption,
        r"sae refused: expected a sparse autoencoder, got 'sae\.zip'; train one with tlab\.sae\.train",
    ),
    (
        "an autoencoder of another width",
        lambda model, sae: saes.encode(model, _PROMPT, replace(sae, b_dec=torch.zeros(7))),
        UnknownOption,
        r"sae refused: expected one of '.*', got one of '.*' at blocks\.1\.resid_post with vectors of width 7; train",
    ),
    (
        "a feature too many",
        lambda model, sae: saes.ablate(model, _PROMPT, sae, [3, 96]),
        UnknownTarget,
        r"feature unknown: expected a number from 0 to 95, got 96; find active ones with tlab\.sae\.encode",
    ),
    (
        "a feature by name",
        lambda model, sae: saes.steer(model, _PROMPT, sae, "cats", 1),
        UnknownTarget,
        r"feature unknown: expected a number from 0 to 95, got 'cats'; ",
    ),
    (
        "an endless push",
        lambda model, sae: saes.steer(model, _PROMPT, sae, 0, float("inf")),
        UnknownOption,
        r"coef refused: expected a number between -1e\+06 and 1e\+06, got inf; try coef=1\.0",
    ),
    (
        "positions that are none",
        lambda model, sae: saes.steer(model, _PROMPT, sae, 0, 1, positions="first"),
        UnknownOption,
        r"positions refused: expected one of all, last, got 'first'; try 'all'",
    ),
    (
        "half a control",
        lambda model, sae: saes.ablate(model, _PROMPT, sae, 0, controls=0.5),
        UnknownOption,
        r"controls refused: expected a whole number from 0 to 1000, got 0\.5; try controls=5",
    ),
    (
        "a text too short to lose anything",
        lambda model, sae: saes.reconstruct(model, "ab", sae),
        UnknownOption,
        r"texts refused: expected one of at least 3 tokens, got 'ab'; give a longer one",
    ),
]


@pytest.mark.parametrize(
    ("call", "kind", "message"), [pytest.param(call, kind, message, id=name) for name, call, kind, message in _REFUSED]
)
def test_what_cannot_be_done_is_refused_in_one_sentence(
    llama: Model, sae: Sae, call: Callable[[Any, Any], object], kind: type[TlabError], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        call(llama, sae)
    assert "\n" not in str(caught.value)
