"""`steering_vector`, `steer` and `dose_curve`: differences of activations, added as plain hooks would add them."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
import oracle
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize
from torch.testing import assert_close

from tlab import Result, metrics
from tlab.engine import Edit, Inputs, run
from tlab.errors import UnknownOption, UnknownTarget, UnusablePrompt
from tlab.experiments.direction import SteeringVector, random_direction, steering_vector
from tlab.experiments.dose import dose_curve
from tlab.experiments.generate import generate
from tlab.experiments.prompts import inputs_of
from tlab.experiments.steering import steer
from tlab.views import steering as view

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor
    from transformers import PreTrainedModel

    from tlab import Model

_PLUS, _MINUS = ("I love it", "so good"), ("I hate it", "so evil")
_PROMPT = "The cat sat"
# Additions without a norm behind them: what joins an MLP's output joins the stream.
_KINDS = ("gpt2", "gpt-neo", "bloom", "gpt-j", "gpt-neox", "falcon", "llama-grouped", "mistral", "mixtral", "opt", "t5")


def _vector(model: Model, seed: int = 0) -> Tensor:
    return torch.randn(model.d_model, generator=torch.Generator().manual_seed(seed))


def _given(inputs: Inputs) -> dict[str, Tensor]:
    return {"ids": inputs.ids} if inputs.source is None else {"ids": inputs.source, "decoder_ids": inputs.ids}


@pytest.mark.parametrize("name", [*_KINDS, "bert", "gemma-2", "bart"])
@pytest.mark.parametrize("position", [-1, 1, "mean"])
def test_a_vector_is_a_difference_of_plain_activations(
    name: str, position: int | str, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    model, hf = dissected(name), untouched(name)
    if model.family == "encoder-decoder" and position == 1:
        with pytest.raises(UnknownOption, match="position refused: expected a whole number from -1 to 0, got 1"):
            steering_vector(model, _PLUS, _MINUS, layer=1, position=position)
        return

    def read(prompt: str) -> Tensor:
        stream = oracle.residuals(hf, name, **_given(inputs_of(model, prompt)), layer=1)[1][0]
        if position == "mean":
            return stream[1:].mean(0) if len(stream) > 1 else stream[0]
        assert isinstance(position, int)
        return stream[position]

    def mean(prompts: tuple[str, ...]) -> Tensor:
        return torch.stack([read(prompt) for prompt in prompts]).mean(0)

    found = steering_vector(model, _PLUS, _MINUS, layer=1, position=position)  # type: ignore[arg-type]
    assert_close(found.vector, mean(_PLUS) - mean(_MINUS), rtol=1e-4, atol=1e-5)
    assert found.norm == pytest.approx(float(found.vector.norm()))
    assert found.site == "blocks.1.resid_post"


def test_a_vector_of_tokens_is_a_difference_of_rows(llama: Model) -> None:
    a, b, c = (llama.to_id(token) for token in "abc")
    found = steering_vector(llama, "a", ["b", "c"], layer=1, source="unembedding")
    assert_close(found.vector, llama.W_U[:, a] - (llama.W_U[:, b] + llama.W_U[:, c]) / 2)
    found = steering_vector(llama, "a", layer=1, source="embedding")
    assert_close(found.vector, llama.W_E[a] - llama.W_E.mean(0))
    assert "the mean of all tokens" in found.explain()


def test_prompts_are_placed_along_a_direction_made_without_them(llama: Model) -> None:
    plus, minus = ("I love it", "so good", "a friend"), ("I hate it", "so evil", "an enemy")
    found = steering_vector(llama, plus, minus, layer=1)
    streams = {
        prompt: run(llama, llama.to_ids(prompt), sites=["blocks.1.resid_post"]).captured["blocks.1.resid_post"][0, -1]
        for prompt in (*plus, *minus)
    }
    pairs = torch.stack([streams[p] - streams[m] for p, m in zip(plus, minus, strict=True)])
    agreeing = 0
    for index in range(3):
        others = torch.cat([pairs[:index], pairs[index + 1 :]]).mean(0)
        place = float(pairs[index] @ normalize(others, dim=0)) / 2
        rows = found.to_frame()[found.to_frame()["prompt"].isin([plus[index], minus[index]])]
        assert rows["projection"].tolist() == pytest.approx([place, -place], rel=1e-4)
        assert rows["is_held_out"].all()
        agreeing += 2 * (place > 0)
    assert found.agreement == pytest.approx(agreeing / 6)
    assert f"puts {agreeing} of 6 on the side" in found.explain()
    alone = steering_vector(llama, plus[0], minus[0], layer=1)
    assert alone.agreement is None
    assert "One pair alone cannot say" in alone.explain()


def test_prompts_that_are_read_at_their_first_position_are_told_of(tiny: Model) -> None:
    for plus, minus, position, n_first in (
        ("a", "b", -1, 2),
        ("a", "bc", -1, 1),
        ("ab", "bc", 0, 2),
        ("ab", "bc", -2, 2),
        ("a", "bc", "mean", 1),
        ("ab", "bc", -1, 0),
    ):
        found = steering_vector(tiny, plus, minus, layer=1, position=position)  # type: ignore[arg-type]
        assert found.n_first == n_first
        assert (f"{n_first} of the prompts were read at their first position" in found.explain()) == (n_first > 0)
    site = "blocks.1.resid_post"
    later = run(tiny, tiny.to_ids("bcd"), sites=[site]).captured[site][0, 1:]
    expected = float(later.norm(dim=-1).median())
    assert steering_vector(tiny, "a", "bcd", layer=1).stream_norm == pytest.approx(expected)


def test_prompts_that_are_no_pairs_are_placed_from_the_middle_of_the_others(llama: Model) -> None:
    found = steering_vector(llama, ("I love it", "so good"), "I hate it", layer=1)
    site = "blocks.1.resid_post"
    love, good, hate = (
        run(llama, llama.to_ids(prompt), sites=[site]).captured[site][0, -1]
        for prompt in ("I love it", "so good", "I hate it")
    )
    place = float((love - (good + hate) / 2) @ normalize(good - hate, dim=0))
    rows = found.to_frame().set_index("prompt")
    assert rows.loc["I love it", "projection"] == pytest.approx(place, rel=1e-4)
    assert rows["is_held_out"].tolist() == [True, True, False]


@pytest.mark.parametrize("name", _KINDS)
def test_steering_is_adding_in_a_plain_hook(
    name: str, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    model, hf = dissected(name), untouched(name)
    vector, inputs = 3.0 * _vector(model), inputs_of(model, _PROMPT)
    clean = oracle.logits(hf, **_given(inputs))[0, -1].log_softmax(-1)
    pushed = oracle.replaced(
        hf, name, **_given(inputs), layer=1, part="mlp", by=lambda written: written - 0.5 * vector
    )[0, -1].log_softmax(-1)
    found = steer(model, _PROMPT, vector, layer=1, coef=-0.5, max_new_tokens=3, controls=2)
    token = int(clean.argmax())
    assert found.token == model.to_text(token)
    assert found.clean_probability == pytest.approx(float(clean[token].exp()), rel=1e-4)
    assert found.steered_probability == pytest.approx(float(pushed[token].exp()), rel=1e-4)
    assert found.kl_nats == pytest.approx(float((clean.exp() * (clean - pushed)).sum()), rel=1e-3)
    frame = found.to_frame()
    assert frame["change"].tolist() == pytest.approx((frame["steered"] - frame["clean"]).tolist())
    assert found.push_norm == pytest.approx(0.5 * float(vector.norm()), rel=1e-5)
    assert (
        found.steered_continuation
        == generate(model, _PROMPT, vector=vector, layer=1, coef=-0.5, max_new_tokens=3).continuation
    )


def test_random_directions_of_the_same_length_are_tried_beside(llama: Model) -> None:
    vector = 3.0 * _vector(llama)
    found = steer(llama, _PROMPT, vector, layer=0, coef=2.0, controls=3, seed=4, max_new_tokens=1)
    clean = run(llama, llama.to_ids(_PROMPT)).logits[0, -1].log_softmax(-1)
    for index, kl_nats in enumerate(found.random_kl_nats):
        direction = random_direction(float((2 * vector).norm()), llama.d_model, seed=4 + index)
        assert float(direction.norm()) == pytest.approx(float((2 * vector).norm()), rel=1e-5)
        edit = Edit("blocks.0.resid_post", lambda stream, direction=direction: stream + direction)
        moved = run(llama, llama.to_ids(_PROMPT), edits=[edit]).logits[0, -1].log_softmax(-1)
        assert kl_nats == pytest.approx(float((clean.exp() * (clean - moved)).sum()), rel=1e-3)
    assert len(set(found.random_kl_nats)) == 3
    assert "random directions" not in steer(llama, _PROMPT, vector, layer=0, controls=0).explain()


@pytest.mark.parametrize("positions", ["all", "prompt", "last", "continuation", [0, 2]])
def test_a_coefficient_of_nought_changes_nothing(tiny: Model, positions: str | list[int]) -> None:
    found = steer(tiny, _PROMPT, 5 * _vector(tiny), layer=1, coef=0.0, positions=positions, max_new_tokens=4)
    assert found.clean_probability == found.steered_probability
    assert found.kl_nats == 0.0
    assert found.clean_continuation == found.steered_continuation
    assert found.damage_nats == 0.0
    assert (found.to_frame()["change"] == 0).all()


def test_the_difference_of_two_prompts_added_at_the_end_turns_one_into_the_other(tiny: Model) -> None:
    # Behind the last block the last position stands alone: plus minus minus, added to minus, is plus.
    last = tiny.n_layers - 1
    vector = steering_vector(tiny, "one prompt", "another prompt", layer=last)
    found = steer(tiny, "another prompt", vector, positions="last", max_new_tokens=1)
    expected = run(tiny, tiny.to_ids("one prompt")).logits[0, -1].softmax(-1)
    frame = found.to_frame()
    ids = [token for token in range(tiny.d_vocab) if tiny.to_text(token) == frame["token"].iloc[0]]
    assert frame["steered"].max() == pytest.approx(float(expected.max()), rel=1e-3)
    assert min(abs(found.steered_probability - float(expected[token])) for token in ids) < 1e-5


def test_damage_is_the_loss_of_the_steered_text_under_the_plain_model(llama: Model) -> None:
    vector = 4.0 * _vector(llama)
    found = steer(llama, _PROMPT, vector, layer=1, max_new_tokens=6, temperature=1.0, seed=2)
    for coef, loss in ((1.0, found.steered_loss_nats), (0.0, found.clean_loss_nats)):
        ids = torch.tensor(
            generate(llama, _PROMPT, vector=vector, layer=1, coef=coef, max_new_tokens=6, temperature=1.0, seed=2).ids
        )
        whole = torch.cat([llama.to_ids(_PROMPT), ids])
        logits = run(llama, whole).logits[0, len(_PROMPT) - 1 : -1]
        assert loss == pytest.approx(float(cross_entropy(logits, ids)), rel=1e-4)
    assert found.damage_nats == found.steered_loss_nats - found.clean_loss_nats
    assert f"{found.steered_loss_nats:.2f} nats a token" in found.explain()


def test_a_vector_goes_back_to_where_it_came_from_unless_told_otherwise(llama: Model) -> None:
    vector = steering_vector(llama, _PLUS, _MINUS, layer=2)
    assert steer(llama, _PROMPT, vector, max_new_tokens=1).layer == 2
    assert steer(llama, _PROMPT, vector, layer=0, max_new_tokens=1).layer == 0
    by_hand = steer(llama, _PROMPT, vector.vector, layer=2, max_new_tokens=1)
    assert by_hand.kl_nats == steer(llama, _PROMPT, vector, max_new_tokens=1).kl_nats


@pytest.mark.parametrize("name", ["gpt2", "llama-grouped", "gemma-2", "gpt-oss"])
def test_every_dose_is_one_run_with_one_push(name: str, dissected: Callable[..., Model]) -> None:
    model = dissected(name)
    vector, metric = _vector(model), metrics.logit_diff("a", "b")
    texts = ("one two three", "four five")
    curve = dose_curve(
        model, _PROMPT, vector, layer=1, coefs=(2, -1, 0), metric=metric, controls=2, seed=5, reference=texts,
        max_new_tokens=2,
    )  # fmt: skip
    frame = curve.to_frame()
    length = float(vector.norm())
    directions = {
        -1: vector,
        5: random_direction(length, model.d_model, 5),
        6: random_direction(length, model.d_model, 6),
    }
    assert sorted(zip(frame["seed"], frame["coef"], strict=True)) == sorted(
        (seed, coef) for seed in directions for coef in (-1.0, 0.0, 2.0)
    )

    def loss(edits: list[Edit]) -> float:
        total, n_tokens = 0.0, 0
        for text in texts:
            ids = model.to_ids(text)
            logits = run(model, ids, edits=edits).logits[0, :-1]
            total, n_tokens = total + float(cross_entropy(logits, ids[1:], reduction="sum")), n_tokens + len(ids) - 1
        return total / n_tokens

    assert curve.plain_loss_nats == pytest.approx(loss([]), rel=1e-4)
    for _, row in frame.iterrows():
        push = row["coef"] * directions[row["seed"]]
        edit = Edit("blocks.1.resid_post", lambda stream, push=push: stream + push)
        logits = run(model, model.to_ids(_PROMPT), edits=[edit]).logits[0, -1]
        expected = float(logits[model.to_id("a")] - logits[model.to_id("b")])
        assert row["value"] == pytest.approx(expected, abs=1e-4)
        assert row["damage_nats"] == pytest.approx(loss([edit]) - loss([]), abs=1e-4)
    nought = frame[frame["coef"] == 0]
    assert nought["value"].tolist() == pytest.approx([curve.plain_value] * 3, abs=1e-5)
    assert nought["damage_nats"].abs().max() < 1e-5
    for _, row in curve.texts.iterrows():
        written = generate(model, _PROMPT, vector=vector, layer=1, coef=row["coef"], max_new_tokens=2)
        assert row["continuation"] == written.continuation


def test_the_curve_puts_the_extremes_of_random_directions_beside_the_vector(llama: Model) -> None:
    found = dose_curve(
        llama, _PROMPT, _vector(llama), layer=1, coefs=(-2, 2), controls=3, max_new_tokens=0, reference=["one two"]
    )
    assert found.metric == metrics.kl().label
    assert found.texts.empty
    frame, curve = found.to_frame(), found.curve
    for _, row in curve.iterrows():
        random = frame[(frame["coef"] == row["coef"]) & (frame["direction"] == "random")]
        assert (row["random_least_value"], row["random_most_value"]) == (random["value"].min(), random["value"].max())
        assert row["random_most_damage_nats"] == random["damage_nats"].max()
    sentence = found.explain()
    assert f"{curve['value'].iloc[0]:.3f} at coefficient -2" in sentence
    assert f"up to {curve['damage_nats'].max():.2f} nats a token more" in sentence
    alone = dose_curve(
        llama, _PROMPT, _vector(llama), layer=1, coefs=[1], controls=0, max_new_tokens=0, reference=["one two"]
    )
    assert "No random direction was tried beside." in alone.explain()
    assert len(view.draw_dose(alone).data) == 2


def test_results_are_saved_and_done_again(llama: Model, tmp_path: Path) -> None:
    vector = steering_vector(llama, _PLUS, _MINUS, layer=1)
    steered = steer(llama, _PROMPT, vector, coef=2.0, max_new_tokens=3)
    dosed = dose_curve(
        llama, _PROMPT, vector, coefs=(0, 1), controls=1, metric=metrics.prob("a"), max_new_tokens=2,
        reference=["one two"],
    )  # fmt: skip
    for index, result in enumerate((vector, steered, dosed)):
        loaded = Result.load(result.save(tmp_path / f"{index}.tlab"))
        assert type(loaded) is type(result)
        assert loaded.text() == result.text()
        assert loaded.replay().text() == result.text()
    again = Result.load(tmp_path / "1.tlab").manifest
    assert again is not None
    assert isinstance(again.arguments["vector"], SteeringVector)
    assert_close(again.arguments["vector"].vector, vector.vector)


def test_the_pictures_show_the_tables(llama: Model) -> None:
    vector = steering_vector(llama, ("<b>I</b>", "so good"), _MINUS, layer=1)
    picture = view.draw_vector(vector)
    drawn = {label: x for bars in picture.data for label, x in zip(bars.y, bars.x, strict=True)}
    assert sorted(drawn.values()) == sorted(vector.to_frame()["projection"].round(3).tolist())
    assert "<b>" not in json.dumps(picture.to_plotly_json()["data"], default=np.ndarray.tolist)
    steered = steer(llama, _PROMPT, vector, max_new_tokens=2)
    clean, pushed = view.draw(steered).data
    assert list(clean.x) == steered.to_frame()["clean"].round(4).tolist()
    assert list(pushed.x) == steered.to_frame()["steered"].round(4).tolist()
    dosed = dose_curve(llama, _PROMPT, vector, coefs=(-1, 1), controls=2, max_new_tokens=2, reference=["one two"])
    picture = view.draw_dose(dosed)
    lines = {(line.name, line.yaxis): list(line.y) for line in picture.data}
    assert lines["vector", "y"] == dosed.curve["value"].round(4).tolist()
    assert lines["vector", "y2"] == dosed.curve["damage_nats"].round(4).tolist()
    assert lines["random directions", "y2"] == dosed.curve["random_most_damage_nats"].round(4).tolist()
    for one in (view.draw_vector(vector), view.draw(steered), picture):
        assert one.layout.title.text
        assert one.layout.xaxis.title.text
        assert one.layout.yaxis.title.text


def test_what_cannot_be_is_refused_in_one_sentence(llama: Model, dissected: Callable[..., Model]) -> None:
    with pytest.raises(UnknownOption, match="minus refused: expected a prompt or several to point away from, got none"):
        steering_vector(llama, "a", layer=1)
    with pytest.raises(UnknownOption, match="plus refused: expected a text or a list of texts, got 3"):
        steering_vector(llama, 3, "a", layer=1)  # type: ignore[arg-type]
    with pytest.raises(UnknownOption, match=r"plus refused: .* got \[\]"):
        steering_vector(llama, [], "a", layer=1)
    with pytest.raises(UnknownTarget, match="layer refused: expected a whole number from 0 to 2, got 3"):
        steering_vector(llama, "a", "b", layer=3)
    with pytest.raises(UnknownOption, match=r"position refused: .*'ab' has 2 tokens; take position=-1"):
        steering_vector(llama, "ab", "cd", layer=1, position=2)
    with pytest.raises(UnknownOption, match="source refused: expected one of activations, unembedding, embedding"):
        steering_vector(llama, "a", "b", layer=1, source="weights")  # type: ignore[arg-type]
    with pytest.raises(UnusablePrompt, match="token unusable: expected exactly one token, got 2"):
        steering_vector(llama, "ab", "c", layer=1, source="unembedding")
    with pytest.raises(UnknownOption, match="vector refused: expected 32 numbers"):
        steer(llama, _PROMPT, torch.zeros(7), layer=1)
    with pytest.raises(UnknownTarget, match="layer refused"):
        steer(llama, _PROMPT, torch.zeros(32))
    with pytest.raises(UnknownOption, match="coef refused: expected a finite number, got inf"):
        steer(llama, _PROMPT, torch.zeros(32), layer=1, coef=math.inf)
    with pytest.raises(UnknownOption, match="controls refused"):
        steer(llama, _PROMPT, torch.zeros(32), layer=1, controls=-1)
    with pytest.raises(UnknownOption, match="coefs refused: expected a list of numbers, got 3"):
        dose_curve(llama, _PROMPT, torch.zeros(32), layer=1, coefs=3)  # type: ignore[arg-type]
    with pytest.raises(UnknownOption, match="metric refused"):
        dose_curve(llama, _PROMPT, torch.zeros(32), layer=1, metric="loss")  # type: ignore[arg-type]
    with pytest.raises(UnknownOption, match="reference refused: expected a list of sentences, got 'one text'"):
        dose_curve(llama, _PROMPT, torch.zeros(32), layer=1, reference="one text")
    with pytest.raises(UnusablePrompt, match="got the encoder"):
        steer(dissected("bert"), _PROMPT, torch.zeros(32), layer=1)


def test_nothing_is_left_in_the_model(llama: Model) -> None:
    before = {name: parameter.clone() for name, parameter in llama.hf.named_parameters()}
    # Hugging Face leaves hooks of its own where somebody once asked it for hidden states.
    n_hooks = sum(len(module._forward_hooks) for module in llama.hf.modules())
    steer(llama, _PROMPT, _vector(llama), layer=1, max_new_tokens=2)
    dose_curve(llama, _PROMPT, _vector(llama), layer=1, coefs=[1], max_new_tokens=1, reference=["one two"])
    assert sum(len(module._forward_hooks) for module in llama.hf.modules()) == n_hooks
    for name, parameter in llama.hf.named_parameters():
        assert torch.equal(parameter, before[name])


_GOOD = ("I love this film, it is", "The food was wonderful and we felt", "What a beautiful day, I am so")
_BAD = ("I hate this film, it is", "The food was disgusting and we felt", "What a horrible day, I am so")


@pytest.mark.slow
def test_in_the_pretrained_model_a_contrast_steers_further_than_random_directions_and_costs_less(model: Model) -> None:
    vector = steering_vector(model, _GOOD, _BAD, layer=16)
    assert vector.agreement == 1.0
    assert vector.norm < 0.2 * vector.stream_norm
    curve = dose_curve(
        model, "My holiday in Spain was", vector, coefs=(-2, 0, 2), metric=metrics.logit_diff(" great", " terrible"),
        controls=2, max_new_tokens=0, reference=["The committee will meet again on Thursday."],
    ).curve.set_index("coef")  # fmt: skip
    assert curve.loc[2.0, "value"] > curve.loc[2.0, "random_most_value"] + 1
    assert curve.loc[-2.0, "value"] < curve.loc[-2.0, "random_least_value"] - 1
    assert curve["damage_nats"].abs().max() < 0.5


@pytest.mark.slow
def test_in_the_pretrained_model_a_word_alone_reads_the_sink(model: Model) -> None:
    vector = steering_vector(model, " love", " hate", layer=16)
    assert vector.norm > 5 * vector.stream_norm
    assert "Careful: 2 of the prompts were read at their first position" in vector.explain()
