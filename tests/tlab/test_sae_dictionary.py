"""Sparse dictionaries by themselves: known ones are found again, and what the trainer promises of its weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize
from torch.testing import assert_close

from tlab.errors import UnknownOption
from tlab.sae import dictionary
from tlab.sae.dictionary import Recipe, fit, variance_unexplained

_WIDTH, _N_TRUE, _N_ACTIVE = 24, 48, 3
_SMALL = Recipe(n_features=32, k=4, steps=40, batch=64)


def _truth() -> torch.Tensor:
    # Not a seed of the trainer's: it would begin with these very directions.
    return normalize(torch.randn(_N_TRUE, _WIDTH, generator=torch.Generator().manual_seed(1234)), dim=-1)


def _sums(n_rows: int, seed: int) -> torch.Tensor:
    """Return sums of three true directions each, with weights between 0.5 and 1.5."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.rand(n_rows, _N_TRUE, generator=generator).topk(_N_ACTIVE, dim=-1).indices
    weights = torch.rand(n_rows, _N_ACTIVE, generator=generator) + 0.5
    return torch.zeros(n_rows, _N_TRUE).scatter(1, chosen, weights) @ _truth()


def _nearest(recipe: Recipe, n_rows: int) -> torch.Tensor:
    """Return for each true direction the cosine of the learnt one that comes nearest."""
    learnt, _ = fit([_sums(n_rows, seed=1)], recipe)
    return (_truth() @ learnt.W_dec.T).amax(-1)


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(Recipe(_N_TRUE, k=_N_ACTIVE, steps=500, batch=128, lr=1e-2), id="as many features as there are"),
        pytest.param(Recipe(2 * _N_TRUE, k=_N_ACTIVE, steps=500, batch=128, lr=1e-2), id="twice as many"),
        pytest.param(Recipe(_N_TRUE, k=0, l1=0.2, steps=800, batch=128, lr=1e-2), id="a price instead of a number"),
    ],
)
def test_a_known_sparse_dictionary_is_found_again(recipe: Recipe) -> None:
    assert _nearest(replace(recipe, steps=1), n_rows=256).mean() < 0.6
    cosines = _nearest(recipe, n_rows=8000)
    assert cosines.mean() > 0.95
    assert (cosines > 0.9).float().mean() > 0.85


def test_every_row_of_the_decoder_has_length_one() -> None:
    learnt, _ = fit([_sums(500, seed=1)], _SMALL)
    assert_close(learnt.W_dec.norm(dim=-1), torch.ones(32))


def test_no_more_features_are_active_than_allowed_and_none_is_negative() -> None:
    learnt, _ = fit([_sums(500, seed=1)], _SMALL)
    activations = learnt.encode(_sums(100, seed=2))
    assert (activations >= 0).all()
    assert ((activations > 0).sum(-1) <= 4).all()
    assert (activations > 0).any()


def test_the_largest_scores_are_the_active_ones() -> None:
    learnt, _ = fit([_sums(500, seed=1)], _SMALL)
    vectors = _sums(20, seed=2)
    scores = (vectors - learnt.b_dec) @ learnt.W_enc + learnt.b_enc
    ordered, _ = scores.sort(descending=True)
    assert_close(learnt.encode(vectors), torch.where(scores >= ordered[:, 3:4], scores.relu(), 0.0))


def test_the_seed_decides_the_weights() -> None:
    vectors = _sums(500, seed=1)
    first, again = fit([vectors], _SMALL)[0], fit([vectors], _SMALL)[0]
    other = fit([vectors], Recipe(32, k=4, steps=40, batch=64, seed=1))[0]
    assert torch.equal(first.W_enc, again.W_enc)
    assert torch.equal(first.b_dec, again.b_dec)
    assert not torch.equal(first.W_enc, other.W_enc)


def test_units_and_origin_of_the_vectors_do_not_matter() -> None:
    vectors, offset = _sums(500, seed=1), torch.linspace(-3, 3, _WIDTH)
    plain, _ = fit([vectors], _SMALL)
    moved, _ = fit([vectors * 50 + offset], _SMALL)
    assert_close(moved.W_dec, plain.W_dec, atol=2e-3, rtol=0)
    assert_close(moved.b_enc, plain.b_enc * 50, atol=2e-1, rtol=0)
    assert_close(moved.b_dec, plain.b_dec * 50 + offset, atol=2e-1, rtol=0)
    unexplained = [
        variance_unexplained(rows, learnt.decode(learnt.encode(rows)))
        for rows, learnt in ((vectors, plain), (vectors * 50 + offset, moved))
    ]
    assert unexplained[0] == pytest.approx(unexplained[1], abs=1e-3)


def test_loads_share_the_steps_and_each_is_trained_on() -> None:
    loads = [_sums(300, seed=1), _sums(300, seed=2)]
    learnt, curve = fit(iter(loads), Recipe(32, k=4, steps=41, batch=64), n_loads=2)
    assert curve[-1]["step"] == 41
    first_only, _ = fit(loads[:1], Recipe(32, k=4, steps=41, batch=64), n_loads=1)
    assert not torch.equal(learnt.W_dec, first_only.W_dec)


def test_the_curve_tells_what_the_final_weights_leave_unexplained() -> None:
    held_out = _sums(200, seed=3)
    learnt, curve = fit([_sums(500, seed=1)], _SMALL, held_out=held_out)
    assert curve[-1]["held_out_fvu"] == variance_unexplained(held_out, learnt.decode(learnt.encode(held_out)))
    assert curve[-1]["held_out_fvu"] < curve[0]["held_out_fvu"]


def test_dead_features_get_a_gradient_from_what_the_living_ones_miss() -> None:
    vectors = _sums(64, seed=1)

    def gradients(n_silent_steps: int) -> torch.Tensor:
        state = dictionary._Training(vectors, Recipe(512, k=2, steps=100, batch=64))
        state.silent_steps[:] = n_silent_steps
        scores = (((vectors - state.mean) / state.scale) - state.b_dec) @ state.W_enc + state.b_enc
        silent = torch.ones(512, dtype=torch.bool)
        silent[scores.topk(2, dim=-1).indices] = False
        state.step(vectors, 0)
        assert state.W_dec.grad is not None
        return state.W_dec.grad[silent]

    assert not gradients(0).any()
    assert gradients(1000).any()


def test_no_vectors_are_refused_in_one_sentence() -> None:
    with pytest.raises(
        UnknownOption, match=r"texts refused: expected texts with at least one token .*, got none; give"
    ):
        fit([], _SMALL)
