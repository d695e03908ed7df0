"""Two prompts are compared by formulas on Hugging Face's own streams and patterns, token by matching token."""

from __future__ import annotations

import functools
import itertools
import math
import re
from typing import TYPE_CHECKING

import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from tlab.errors import UnusablePrompt
from tlab.experiments.aligning import aligned
from tlab.experiments.comparison import Comparison, compare
from tlab.results import Result
from tlab.views import comparison as view

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from transformers import PreTrainedModel

    from tlab import Model

_A, _B = "The cat sat", "The old dog sat"
_NAMES = (
    "gpt2",
    "gpt-neo",
    "opt",
    "opt-post-norm",
    "bloom",
    "gpt-j",
    "gpt-neox",
    "falcon-new",
    "llama-grouped",
    "mistral",
    "gemma-2",
    "olmo-2",
    "granite",
    "mixtral",
    "roberta",
    "modernbert",
)
_words = st.lists(st.integers(0, 3), min_size=1, max_size=7)


@given(_words, _words)
@settings(max_examples=150, deadline=None)
def test_an_alignment_grows_ends_at_the_ends_and_costs_least(a: list[int], b: list[int]) -> None:
    pairs = aligned(a, b)
    assert pairs[-1] == (len(a) - 1, len(b) - 1)
    for (i, j), (later_i, later_j) in itertools.pairwise(pairs):
        assert later_i > i
        assert later_j > j
    paid = sum(a[i] != b[j] for i, j in pairs[:-1]) + (len(a) - len(pairs)) + (len(b) - len(pairs))
    assert paid == _least(tuple(a[:-1]), tuple(b[:-1]))


@functools.cache
def _least(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    """The least number of changes from one sequence to another, by trying everything."""
    if not a or not b:
        return len(a) + len(b)
    replaced = _least(a[1:], b[1:]) + (a[0] != b[0])
    return min(replaced, _least(a[1:], b) + 1, _least(a, b[1:]) + 1)


@given(_words)
def test_a_prompt_is_aligned_with_itself_place_by_place(a: list[int]) -> None:
    assert aligned(a, a) == tuple((i, i) for i in range(len(a)))


def test_a_prompt_differs_from_itself_in_nothing(specimen: str, dissected: Callable[..., Model]) -> None:
    found = compare(dissected(specimen), _A, _A)
    assert found.differing == ()
    assert float(found.distance.abs().max()) == 0
    assert float(found.attention.abs().max()) == 0
    assert_close(found.cosine, torch.ones_like(found.cosine))
    if len(found.predictions):
        assert found.kl_nats == pytest.approx(0, abs=1e-6)
        assert not found.predictions["change"].any()


@pytest.mark.parametrize("name", _NAMES)
def test_distances_are_those_of_hugging_faces_streams(
    name: str, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    model, hf = dissected(name), untouched(name)
    found = compare(model, _A, _B)
    ids = [model.to_ids(prompt)[None] for prompt in (_A, _B)]
    for layer in range(model.n_layers):
        first, second = (oracle.residuals(hf, name, one, layer)[1][0] for one in ids)
        for pair, (i, j) in enumerate(found.pairs):
            x, y = first[i], second[j]
            expected = (x - y).norm() / ((x.norm() + y.norm()) / 2)
            assert float(found.distance[layer + 1, pair]) == pytest.approx(float(expected), abs=1e-4)
            cosine = torch.cosine_similarity(x, y, dim=0)
            assert float(found.cosine[layer + 1, pair]) == pytest.approx(float(cosine), abs=1e-4)
        later = first[1:]
        n_later = len(later)
        apart = [
            float((later[m] - later[n]).norm() / ((later[m].norm() + later[n].norm()) / 2))
            for m in range(n_later)
            for n in range(n_later)
            if m != n
        ]
        assert float(compare(model, _A, _A).baseline[layer + 1]) == pytest.approx(sum(apart) / len(apart), abs=1e-4)


@pytest.mark.parametrize("name", _NAMES)
def test_attention_distances_are_those_of_hugging_faces_patterns(
    name: str, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    model, hf = dissected(name), untouched(name)
    found = compare(model, _A, _B)
    first, second = (oracle.attentions(hf, model.to_ids(prompt)[None]) for prompt in (_A, _B))
    for layer, head in ((0, 0), (1, 2)):
        one, other = first[layer][0, head], second[layer][0, head]
        distances = []
        for i, j in found.pairs:
            paired = sum(abs(float(one[i, m]) - float(other[j, n])) for m, n in found.pairs)
            alone = sum(float(one[i, m]) for m in range(len(one)) if m not in {pair[0] for pair in found.pairs})
            alone += sum(float(other[j, n]) for n in range(len(other)) if n not in {pair[1] for pair in found.pairs})
            distances.append((paired + alone) / 2)
        assert float(found.attention[layer, head]) == pytest.approx(distances[-1], abs=1e-4)
        assert float(found.attention_everywhere[layer, head]) == pytest.approx(
            sum(distances) / len(distances), abs=1e-4
        )
        assert 0 <= distances[-1] <= 1 + 1e-6


def test_what_stands_before_the_difference_is_the_same_in_a_decoder(dissected: Callable[..., Model]) -> None:
    for name in ("gpt2", "llama-grouped", "bloom"):
        found = compare(dissected(name), "abcXdef", "abcYdef")
        assert found.differing == (3,)
        assert float(found.distance[:, :3].abs().max()) < 1e-6
        assert float(found.distance[1:, 3:].min()) > 1e-4
        assert float(found.distance[0, 4:].abs().max()) == 0
    both_ways = compare(dissected("bert"), "abcXdef", "abcYdef")
    assert float(both_ways.distance[1:, 0].min()) > 1e-4


def test_predictions_are_those_of_the_two_runs(llama: Model, dissected: Callable[..., Model]) -> None:
    from tlab.engine import run  # noqa: PLC0415

    found = compare(llama, _A, _B)
    first, second = (run(llama, llama.to_ids(prompt)).logits[0, -1].softmax(-1) for prompt in (_A, _B))
    assert found.kl_nats == pytest.approx(float((first * (first / second).log()).sum()), abs=1e-5)
    row = found.predictions.loc[found.predictions["a"].idxmax()]
    assert row["token"] == llama.to_text(int(first.argmax()))
    assert row["a"] == pytest.approx(float(first.max()), abs=1e-6)
    assert row["change"] == pytest.approx(row["b"] - row["a"])
    masked = compare(dissected("bert"), "a[MASK]b", "c[MASK]d")
    assert len(masked.predictions) > 0
    unmasked = compare(dissected("bert"), "ab", "cd")
    assert len(unmasked.predictions) == 0
    assert math.isnan(unmasked.kl_nats)
    assert "predictions" not in unmasked.explain()


def test_an_encoder_decoders_sources_are_compared(
    dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    found = compare(dissected("t5"), _A, _B)
    assert (len(found.a_tokens), len(found.b_tokens)) == (12, 16)
    ids = [dissected("t5").to_ids(prompt)[None] for prompt in (_A, _B)]
    first, second = (oracle.residuals(untouched("t5"), "t5", one, 1, stack="encoder")[1][0, -1] for one in ids)
    expected = (first - second).norm() / ((first.norm() + second.norm()) / 2)
    assert float(found.distance[2, -1]) == pytest.approx(float(expected), abs=1e-4)
    assert len(found.predictions) > 0


def test_a_prompt_that_is_none_is_refused(llama: Model) -> None:
    with pytest.raises(UnusablePrompt, match=r"^prompt unusable"):
        compare(llama, _A, "")


def test_a_comparison_says_and_draws_its_numbers(llama: Model) -> None:
    found = compare(llama, "a <b> c", "a <i> cd")
    sentence = found.explain()
    assert re.fullmatch(r"[A-Z][^\n]*\.", sentence)
    peak = int(found.distance[:, -1].argmax())
    assert f"furthest apart in layer {peak}, {float(found.distance[peak, -1]):.2f} of their length" in sentence
    first = found.heads(1).to_dict("records")[0]
    assert f"{first['head']} {first['attention']:.2f}" in sentence
    assert first["attention"] == pytest.approx(float(found.attention.max()))
    assert f"tokens without a partner: {8 + 7 - 2 * len(found.pairs)}" in sentence
    frame = found.to_frame()
    assert len(frame) == 4 * len(found.pairs)
    (heat,) = view.draw(found).data
    assert_close(torch.tensor(heat.z), found.distance, atol=5e-4, rtol=0)
    assert any("|" in label for label in heat.x)
    assert not any("<" in label for label in heat.x)
    alone = compare(llama, "a", "b")
    assert "unrelated" not in alone.explain()
    assert "nan" not in alone.explain()


def test_a_comparison_is_saved_and_done_again(llama: Model, tmp_path: Path) -> None:
    found = compare(llama, _A, _B)
    loaded = Result.load(found.save(tmp_path / "v.tlab"))
    assert isinstance(loaded, Comparison)
    assert loaded.pairs == found.pairs
    assert loaded.explain() == found.explain()
    assert loaded.replay(llama).to_frame().equals(found.to_frame())


@pytest.mark.slow
def test_smollm2_carries_the_country_to_the_end_in_layer_23(model: Model) -> None:
    found = compare(model, "The capital of France is", "The capital of Italy is")
    assert found.differing == (3,)
    last = found.distance[:, -1]
    # Layer 24 is the stream after block 23.
    assert int((last[1:] - last[:-1]).argmax()) + 1 == 24
    assert float(last[23]) < 0.15
    assert float(last[24]) > 0.45
    tokens = found.predictions
    assert tokens.loc[tokens["a"].idxmax(), "token"] == " Paris"
    assert tokens.loc[tokens["b"].idxmax(), "token"] == " Rome"
