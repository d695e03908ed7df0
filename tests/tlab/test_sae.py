"""Sparse autoencoders in a model: identities, oracles in plain hooks, known answers, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import torch
from judging import assert_presents_itself
from torch.testing import assert_close

import tlab
from tlab import sae as saes
from tlab.errors import UnknownOption, UnknownTarget
from tlab.learning.corpus import is_ordinary, loads, pieces_of, vectors_at
from tlab.results import Result
from tlab.sae import Sae

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor, nn

    from tlab import Model

_SITE = "blocks.1.resid_post"
_PROMPT = "The cat <b>&amp; 12</b>"
_FOLLOWED = "e"
_TEXTS = (
    "The train left the station a few minutes after nine, and nobody waved.",
    "Water boils at a lower temperature on a mountain because the air is thinner there.",
    "She opened the letter, read it twice, and put it back into the drawer.",
    "Our survey covers three hundred households in the north of the country.",
)
_SMALL: dict[str, Any] = {"site": _SITE, "n_features": 96, "k": 6, "steps": 60, "batch": 64, "context": 24}


@pytest.fixture(scope="module")
def sae(llama: Model) -> Sae:
    """Train a small autoencoder on a small model."""
    return saes.train(llama, _TEXTS, **_SMALL)


@pytest.fixture(scope="module")
def perfect(llama: Model) -> Sae:
    """Return an autoencoder that loses nothing: two features a dimension, one for each sign."""
    n = llama.d_model
    both = torch.cat([torch.eye(n), -torch.eye(n)])
    return Sae(
        model=llama.name,
        site=_SITE,
        W_enc=both.T.contiguous(),
        b_enc=torch.zeros(2 * n),
        W_dec=both,
        b_dec=torch.zeros(n),
        mean=torch.zeros(n),
        k=0,
        l1=0.1,
        skip=1,
        longest=1e6,
        frequency=torch.full((2 * n,), 0.5),
        largest=torch.ones(2 * n),
        n_tokens=0,
        n_held_out=0,
        held_out_fvu=0.0,
        held_out_l0=float(n),
        n_dead=0,
        steps=0,
        batch=0,
        seed=0,
        curve=pd.DataFrame({"step": [0], "fvu": [0.0], "held_out_fvu": [0.0]}),
    )


def _plain_logits(model: Model, ids: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Run Hugging Face's model by itself, with the output of its block 1 changed by a plain hook."""

    def hook(_module: nn.Module, _inputs: object, output: Any) -> Any:  # noqa: ANN401
        stream = output[0] if isinstance(output, tuple) else output
        changed = change(stream.clone())
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    handle = model.hf.model.layers[1].register_forward_hook(hook)
    try:
        with torch.no_grad():
            return model.hf(ids[None], use_cache=False).logits[0].float()  # type: ignore[no-any-return]
    finally:
        handle.remove()


def _strongest(model: Model, sae: Sae) -> int:
    return saes.encode(model, _PROMPT, sae).strongest(1)[0]


def test_training_lowers_what_is_unexplained(sae: Sae) -> None:
    frame = sae.to_frame()
    assert frame["step"].iloc[[0, -1]].tolist() == [1, 60]
    assert sae.held_out_fvu < 0.75 * frame["held_out_fvu"].iloc[0]
    assert 0 < sae.held_out_l0 <= 6
    assert_close(sae.W_dec.norm(dim=-1), torch.ones(96))
    assert sae.n_dead == int((sae.frequency == 0).sum()) == int((sae.largest == 0).sum())


def test_the_same_arguments_give_the_same_autoencoder(llama: Model, sae: Sae) -> None:
    again = saes.train(llama, _TEXTS, **_SMALL)
    other = saes.train(llama, _TEXTS, **{**_SMALL, "seed": 1})
    assert torch.equal(again.W_enc, sae.W_enc)
    assert torch.equal(again.largest, sae.largest)
    assert not torch.equal(other.W_enc, sae.W_enc)


def test_a_price_of_activation_takes_the_place_of_their_number(llama: Model) -> None:
    options = {name: value for name, value in _SMALL.items() if name != "k"}
    cheap, dear = (saes.train(llama, _TEXTS, **options, l1=price) for price in (0.01, 1.0))
    assert (cheap.k, cheap.l1) == (0, 0.01)
    assert dear.held_out_l0 < cheap.held_out_l0
    assert dear.held_out_fvu > cheap.held_out_fvu


def test_an_autoencoder_is_saved_loaded_and_trained_again(llama: Model, sae: Sae, tmp_path: Path) -> None:
    loaded = Result.load(sae.save(tmp_path / "sae.zip"))
    assert isinstance(loaded, Sae)
    assert torch.equal(loaded.W_dec, sae.W_dec)
    assert loaded.explain() == sae.explain()
    pd.testing.assert_frame_equal(loaded.to_frame(), sae.to_frame())
    replayed = loaded.replay(llama)
    assert isinstance(replayed, Sae)
    assert torch.equal(replayed.W_dec, sae.W_dec)


def test_a_result_of_an_autoencoder_is_saved_with_it_and_done_again(llama: Model, sae: Sae, tmp_path: Path) -> None:
    ablation = saes.ablate(llama, _PROMPT, sae, _strongest(llama, sae), controls=1)
    replayed = Result.load(ablation.save(tmp_path / "ablation.zip")).replay(llama)
    assert replayed.explain() == ablation.explain()


def test_loads_are_bounded_and_hold_every_ordinary_vector_once(llama: Model) -> None:
    pieces = list(pieces_of(llama, _TEXTS, 24))
    sizes = [len(load) for load in loads(llama, pieces, _SITE, skip=1, longest=None, size=50)]
    assert sizes[:-1] == [50] * (len(sizes) - 1)
    assert 0 < sizes[-1] <= 50
    joined = torch.cat(list(loads(llama, pieces, _SITE, skip=1, longest=None, size=50)))
    expected = [vectors_at(llama, piece, _SITE) for piece in pieces]
    assert_close(joined, torch.cat([vectors[is_ordinary(vectors, 1)] for vectors in expected]), atol=0, rtol=0)


def test_many_loads_train_as_well(llama: Model, sae: Sae, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlab.sae.training._BUFFER_BYTES", 100 * llama.d_model * 4)
    streamed = saes.train(llama, _TEXTS, **_SMALL)
    assert streamed.n_tokens == sae.n_tokens
    assert_close(streamed.mean, sae.mean)
    assert streamed.to_frame()["step"].iloc[-1] == 60
    assert streamed.held_out_fvu < 0.75 * streamed.to_frame()["held_out_fvu"].iloc[0]


def test_pieces_are_the_texts_tokens_and_no_longer_than_the_context(llama: Model) -> None:
    short = "A mat, 12 cats"
    assert torch.equal(torch.cat(list(pieces_of(llama, [short], 96))), llama.to_ids(short))
    long = " ".join(_TEXTS)
    pieces = list(pieces_of(llama, [long], 10))
    assert max(map(len, pieces)) <= 10
    assert sum(map(len, pieces)) >= len(long) - len(pieces)


def test_reading_a_site_equals_a_capture_and_leaves_no_hook(llama: Model) -> None:
    hooks = [len(module._forward_hooks) for module in llama.hf.modules()]
    for site in ("embed", "blocks.0.resid_pre", _SITE, "blocks.2.mlp.post", "ln_final.out"):
        expected = tlab.capture(llama, _PROMPT, sites=[site])[site][0]
        assert_close(vectors_at(llama, llama.to_ids(_PROMPT), site), expected, atol=0, rtol=0)
    assert [len(module._forward_hooks) for module in llama.hf.modules()] == hooks


def test_massive_activations_and_first_positions_are_not_ordinary() -> None:
    vectors = torch.ones(8, 4)
    vectors[0] *= 200
    vectors[5] *= 11
    assert is_ordinary(vectors, skip=1).tolist() == [False, True, True, True, True, False, True, True]
    assert is_ordinary(vectors, skip=3, longest=30.0).tolist() == [False] * 3 + [True] * 5


def test_nothing_is_active_where_nothing_is_read(llama: Model, sae: Sae) -> None:
    encoded = saes.encode(llama, _PROMPT, sae)
    assert not encoded.activations[0].any()
    assert encoded.activations[1:].any(-1).all()
    assert encoded.n_left_out == 1
    frame = encoded.to_frame()
    assert len(frame) == int((encoded.activations > 0).sum())
    first = frame.iloc[0]
    assert first["token"] == encoded.tokens[int(first["pos"])]
    assert encoded.strongest(1) == (int(frame.loc[frame["activation"].idxmax(), "feature"]),)


def test_activations_are_those_of_the_models_own_vectors(llama: Model, sae: Sae) -> None:
    vectors = tlab.capture(llama, _PROMPT, sites=[_SITE])[_SITE][0]
    scores = (vectors - sae.b_dec) @ sae.W_enc + sae.b_enc
    ordered, _ = scores.sort(descending=True)
    kept = scores >= ordered[:, 5:6]
    expected = torch.where(kept, scores.relu(), 0.0)
    assert_close(saes.encode(llama, _PROMPT, sae).activations[1:], expected[1:])


def test_ablating_no_feature_changes_nothing(llama: Model, sae: Sae) -> None:
    active = set(saes.encode(llama, _PROMPT, sae).strongest(96))
    silent = next(feature for feature in range(96) if feature not in active)
    for features in ([], [silent]):
        result = saes.ablate(llama, _PROMPT, sae, features)
        assert (result.kl_nats, result.change, result.n_pushed, result.relative_size) == (0, 0, 0, 0)
        assert (result.frame["change"] == 0).all()
        assert result.controls == {}
        assert "nothing to compare with" in result.explain()


def test_steering_by_zero_changes_nothing(llama: Model, sae: Sae) -> None:
    result = saes.steer(llama, _PROMPT, sae, _strongest(llama, sae), 0)
    assert (result.kl_nats, result.change, result.n_pushed) == (0, 0, 0)


def test_ablating_features_equals_a_plain_hook(llama: Model, sae: Sae) -> None:
    features = list(saes.encode(llama, _PROMPT, sae).strongest(3))

    def without(stream: Tensor) -> Tensor:
        for position in range(1, stream.shape[1]):
            active = sae.dictionary.encode(stream[0, position : position + 1])[0]
            for feature in features:
                stream[0, position] -= active[feature] * sae.W_dec[feature]
        return stream

    expected = _plain_logits(llama, llama.to_ids(_PROMPT), without)[-1].softmax(-1)
    result = saes.ablate(llama, _PROMPT, sae, features, token=_FOLLOWED)
    assert result.kl_nats > 0
    assert result.patched_probability == pytest.approx(float(expected[llama.to_id(_FOLLOWED)]), abs=1e-5)
    assert result.to_frame()["patched"].max() == pytest.approx(float(expected.max()), abs=1e-5)


@pytest.mark.parametrize("positions", ["all", "last"])
def test_steering_equals_adding_the_direction_in_a_plain_hook(llama: Model, sae: Sae, positions: str) -> None:
    feature = _strongest(llama, sae)
    first = 1 if positions == "all" else len(llama.to_ids(_PROMPT)) - 1

    def steered(stream: Tensor) -> Tensor:
        stream[:, first:] += -1.5 * sae.direction(feature)
        return stream

    expected = _plain_logits(llama, llama.to_ids(_PROMPT), steered)[-1].softmax(-1)
    result = saes.steer(llama, _PROMPT, sae, feature, -1.5, positions=positions, token=_FOLLOWED)
    assert result.kl_nats > 0
    assert result.patched_probability == pytest.approx(float(expected[llama.to_id(_FOLLOWED)]), abs=1e-5)
    assert result.n_pushed == len(llama.to_ids(_PROMPT)) - first


def test_controls_are_pushes_of_the_same_size_along_living_features(llama: Model, sae: Sae) -> None:
    feature = _strongest(llama, sae)
    result = saes.steer(llama, _PROMPT, sae, feature, 1.0, controls=3, seed=5)
    living = [other for other in range(96) if float(sae.frequency[other]) and other != feature]
    order = torch.Generator().manual_seed(5)
    length = float(sae.largest[feature])
    for value in result.controls.values():
        drawn = living[int(torch.randperm(len(living), generator=order)[0])]

        def pushed(stream: Tensor, other: int = drawn) -> Tensor:
            stream[:, 1:] += length * sae.W_dec[other]
            return stream

        ids = llama.to_ids(_PROMPT)
        after = _plain_logits(llama, ids, pushed)[-1].log_softmax(-1)
        before = _plain_logits(llama, ids, lambda stream: stream)[-1].log_softmax(-1)
        assert value == pytest.approx(float((before.exp() * (before - after)).sum()), rel=1e-3, abs=1e-6)
    assert len(result.controls) == 3


def test_an_autoencoder_that_loses_nothing_costs_nothing(llama: Model, perfect: Sae) -> None:
    result = saes.reconstruct(llama, _TEXTS[:2], perfect, context=24)
    losses = result.losses
    assert losses["reconstruction"] == pytest.approx(losses["itself"], abs=1e-5)
    assert losses["noise of the same size"] == pytest.approx(losses["itself"], abs=1e-4)
    assert result.fvu < 1e-9
    assert result.recovered("zero") == pytest.approx(1, abs=1e-4)
    assert losses["zero"] == pytest.approx(losses["mean"], abs=1e-6)
    assert losses["zero"] != pytest.approx(losses["itself"], abs=1e-3)


def test_the_loss_with_other_vectors_equals_a_plain_hooks(llama: Model, sae: Sae) -> None:
    text = _TEXTS[0][:23]
    ids = llama.to_ids(text)

    def loss(change: Callable[[Tensor], Tensor]) -> float:
        # The last position keeps its vector: what it predicts is not there.
        steps = _plain_logits(llama, ids, change)[1:-1].log_softmax(-1)
        return -float(steps.gather(-1, ids[2:, None]).mean())

    def put(vectors: Tensor | float) -> Callable[[Tensor], Tensor]:
        def change(stream: Tensor) -> Tensor:
            stream[:, 1:-1] = vectors
            return stream

        return change

    def rebuilt(stream: Tensor) -> Tensor:
        stream[0, 1:-1] = sae.dictionary.decode(sae.dictionary.encode(stream[0, 1:-1]))
        return stream

    losses = saes.reconstruct(llama, text, sae).losses
    assert losses["itself"] == pytest.approx(loss(lambda stream: stream), abs=1e-4)
    assert losses["zero"] == pytest.approx(loss(put(0.0)), abs=1e-4)
    assert losses["mean"] == pytest.approx(loss(put(sae.mean)), abs=1e-4)
    assert losses["reconstruction"] == pytest.approx(loss(rebuilt), abs=1e-4)


def test_the_pieces_of_a_reconstruction_add_up(llama: Model, sae: Sae) -> None:
    result = saes.reconstruct(llama, _TEXTS, sae, context=24)
    pieces = result.pieces
    assert pieces["n_tokens"].sum() == result.n_tokens
    for name, value in result.losses.items():
        assert (pieces[name] * pieces["n_tokens"]).sum() / result.n_tokens == pytest.approx(value)
    frame = result.to_frame()
    assert frame["added_nats"].iloc[0] == 0
    with pytest.raises(UnknownOption, match=r"baseline refused: expected 'zero' or 'mean', got 'noise'; try 'mean'"):
        result.recovered("noise")


def test_a_reading_shows_where_the_feature_is_active(llama: Model, sae: Sae) -> None:
    feature = int(sae.features()["feature"].iloc[0])
    texts = [text[:23] for text in _TEXTS]
    reading = saes.read(llama, texts, sae, feature, n_ordinary=1000, window=4)
    encoded = [saes.encode(llama, text, sae).activations[:, feature] for text in texts]
    assert reading.n_active == sum(int((values > 0).sum()) for values in encoded) > 0
    assert reading.n_tokens == sum(len(text) - 1 for text in texts)
    frame = reading.to_frame()
    assert len(frame) == reading.n_active
    for row in frame.itertuples():
        assert row.activation == pytest.approx(float(encoded[row.text][row.pos]), abs=1e-4)
        assert texts[row.text][row.pos] == row.token
        assert texts[row.text][: row.pos].endswith(row.before)
        assert texts[row.text][row.pos + 1 :].startswith(row.after)
    strongest = frame[frame["kind"] == "strongest"]
    assert strongest["activation"].is_monotonic_decreasing
    assert strongest["text"].is_unique
    assert strongest["activation"].iloc[0] == frame["activation"].max()


def test_a_reading_says_what_the_direction_alone_speaks_for(llama: Model, sae: Sae) -> None:
    reading = saes.read(llama, _TEXTS[:1], sae, 3)
    norm, unembedding = llama.hf.model.norm, llama.hf.lm_head
    with torch.no_grad():
        logits = unembedding(norm(sae.W_dec[3] * llama.d_model**0.5))
    ordered, ids = (logits - logits.mean()).sort(descending=True)
    found = reading.effects[reading.effects["kind"] == "promotes"]
    assert found["logit"].tolist() == pytest.approx(ordered[:10].tolist(), abs=1e-4)
    assert found["token"].iloc[0] == llama.to_text(int(ids[0]))
    suppressed = reading.effects[reading.effects["kind"] == "suppresses"]
    assert suppressed["logit"].tolist() == pytest.approx(ordered.flip(0)[:10].tolist(), abs=1e-4)


def test_a_dead_feature_is_read_as_one_and_cannot_be_steered(llama: Model, perfect: Sae) -> None:
    silent = replace(perfect, b_enc=torch.full((64,), -1e6), largest=torch.zeros(64))
    assert "active on none of" in saes.read(llama, _TEXTS[:1], silent, 0).explain()
    assert saes.encode(llama, _PROMPT, silent).strongest() == ()
    with pytest.raises(UnknownTarget, match=r"feature dead: expected one that was active .*, got 0; find others with"):
        saes.steer(llama, _PROMPT, silent, 0, 1.0)


def test_sample_texts_are_prose_of_some_length() -> None:
    texts = saes.sample_texts()
    assert sum(map(len, texts)) > 300_000
    assert all(text.strip() for text in texts)
    assert len(set(texts)) > 0.9 * len(texts)
    assert sum(" the " in text for text in texts) > 0.8 * len(texts)


_DRAWN: list[tuple[str, Callable[[Any, Any], Result]]] = [
    ("training", lambda _model, sae: sae),
    ("activations", lambda model, sae: saes.encode(model, _PROMPT, sae)),
    ("reading", lambda model, sae: saes.read(model, [_PROMPT, *_TEXTS], sae, 3)),
    ("reconstruction", lambda model, sae: saes.reconstruct(model, _PROMPT, sae)),
    ("ablation", lambda model, sae: saes.ablate(model, _PROMPT, sae, _strongest(model, sae))),
    ("steering", lambda model, sae: saes.steer(model, _PROMPT, sae, _strongest(model, sae), 2)),
]


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in _DRAWN])
def test_a_result_is_a_table_a_picture_and_a_sentence(
    llama: Model, sae: Sae, make: Callable[[Any, Any], Result]
) -> None:
    assert_presents_itself(make(llama, sae))


@pytest.mark.slow
def test_a_small_autoencoder_of_the_pretrained_model_beats_the_mean_and_leaves_the_sink_alone(model: Model) -> None:
    texts = saes.sample_texts()
    sae = saes.train(model, texts[:-4], n_tokens=1024, n_features=576, steps=60)
    assert sae.longest < 22_000 / 5
    assert sae.held_out_fvu < 0.6
    result = saes.reconstruct(model, texts[-4:], sae, n_tokens=128)
    assert result.recovered("mean") > 0.5
    assert result.losses["itself"] < result.losses["reconstruction"] < result.losses["mean"]
    encoded = saes.encode(model, "The capital of France is", sae)
    assert not encoded.activations[0].any()
    ablation = saes.ablate(model, "The capital of France is", sae, encoded.strongest(2))
    assert ablation.kl_nats > 0
    assert len(ablation.controls) == 5
