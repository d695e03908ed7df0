"""The toys that ship: their files, their curves, and the answers that are known about their weights."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import torch

from tlab.errors import MissingModelSource, UnknownModel, UnknownOption
from tlab.training import (
    TOYS,
    ToyForCausalLM,
    Trained,
    checkpoints,
    curve,
    dates,
    fourier,
    induction,
    load_superposition,
    load_toy,
    modular_addition,
    record,
    store,
    superposition,
    toy_folder,
)
from tlab.views import training as views

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from transformers import PreTrainedModel

_LARGEST_FILE_BYTES = 3_000_000
_LARGEST_FOLDER_BYTES = 4_000_000
_TRAININGS: dict[str, Callable[..., Trained]] = {
    "toy-induction": induction.train,
    "toy-modular-addition": modular_addition.train,
    "toy-dates": dates.train,
    "toy-superposition": superposition.train,
}
# They are measured against the frequencies that the finished model uses; a few steps lead to none.
_KNOWN_AT_THE_END = ("restricted_loss", "excluded_loss", "key_share")
_WITH_PROMPTS = tuple(name for name in TOYS if name != "toy-superposition")


@pytest.fixture(scope="module")
def adder() -> ToyForCausalLM:
    model, _ = load_toy("toy-modular-addition")
    assert isinstance(model, ToyForCausalLM)
    return model


@pytest.fixture(scope="module")
def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the pairs that the shipped training showed, and those that it hid."""
    return modular_addition.split(torch.Generator().manual_seed(record("toy-modular-addition")["seed"]))


@pytest.fixture(scope="module")
def repeater() -> ToyForCausalLM:
    model, _ = load_toy("toy-induction")
    assert isinstance(model, ToyForCausalLM)
    return model


@pytest.fixture(scope="module")
def phrases() -> torch.Tensor:
    return induction.repeats(64, torch.Generator().manual_seed(99))


@pytest.mark.parametrize("name", TOYS)
def test_what_ships_is_small(name: str) -> None:
    sizes = {path.name: path.stat().st_size for path in toy_folder(name).iterdir()}
    assert max(sizes.values()) < _LARGEST_FILE_BYTES
    assert sum(sizes.values()) < _LARGEST_FOLDER_BYTES


@pytest.mark.parametrize("name", TOYS)
def test_checkpoints_stand_before_in_and_after_the_change(name: str) -> None:
    kept, change = checkpoints(name), curve(name).change
    assert 5 <= len(kept) <= 12
    assert kept[0] == 0
    assert {change.start, change.middle, change.end} <= set(kept)
    assert kept[-1] == record(name)["steps"] > change.end


@pytest.mark.parametrize("name", TOYS)
def test_the_record_belongs_to_the_curve(name: str) -> None:
    noted, frame = record(name), curve(name).to_frame()
    assert noted["name"] == name
    assert frame["step"].is_monotonic_increasing
    pd.testing.assert_series_equal(pd.Series(noted["final"]), frame.iloc[-1], check_names=False, rtol=1e-5)


@pytest.mark.parametrize("name", TOYS)
def test_training_again_begins_with_the_shipped_curve(name: str) -> None:
    noted = record(name)
    again = _TRAININGS[name](steps=len(noted["first_losses"]), seed=noted["seed"])
    # Another machine rounds differently, and five steps do not yet make much of it.
    assert list(again.fitted.losses) == pytest.approx(noted["first_losses"], rel=1e-3)
    columns = [column for column in again.frame.columns if column not in _KNOWN_AT_THE_END]
    shipped_row = curve(name).to_frame()[columns].iloc[0]
    pd.testing.assert_series_equal(again.frame[columns].iloc[0], shipped_row, rtol=1e-3, atol=1e-6)
    first = again.fitted.history[0]
    shipped = dict(load_toy(name, step=0)[0].named_parameters()) if name in _WITH_PROMPTS else None
    for key, weight in first.items():
        kept = shipped[key] if shipped else getattr(load_superposition(step=0), key)
        torch.testing.assert_close(kept.detach(), weight, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["toy-induction", "toy-modular-addition"])
def test_the_change_is_abrupt_by_the_rule(name: str) -> None:
    shown = curve(name)
    assert shown.change.is_abrupt
    assert f"goes abruptly from {shown.change.before:.3g}" in shown.explain()


@pytest.mark.parametrize("name", TOYS)
def test_a_curve_is_a_table_a_picture_and_a_sentence(name: str) -> None:
    shown = curve(name)
    picture = views.draw(shown)
    watched = picture.data[-1]
    assert watched.name == shown.watched
    assert list(watched.x) == shown.to_frame()["step"].tolist()
    assert list(watched.y) == shown.to_frame()[shown.watched].tolist()
    assert f"{shown.change.start} and {shown.change.end}" in shown.explain()
    assert len(shown.text().splitlines()) > len(shown.checkpoints)


def test_the_adder_adds_pairs_that_it_never_saw(
    adder: ToyForCausalLM, pairs: tuple[torch.Tensor, torch.Tensor]
) -> None:
    _, hidden = pairs
    prompts = torch.cat([hidden, torch.full((len(hidden), 1), modular_addition.MODULUS)], dim=1)[::3]
    answers = adder(prompts).logits[:, -1].argmax(dim=1)
    assert float((answers == hidden[::3].sum(dim=1) % 113).double().mean()) > 0.99


def test_the_adder_reads_a_written_sum() -> None:
    model, tokenizer = load_toy("toy-modular-addition")
    ids = tokenizer("100 50 =", return_tensors="pt")["input_ids"]
    assert tokenizer.decode([int(model(ids).logits[0, -1].argmax())]) == "37"


def test_the_adder_knew_by_heart_before_it_could_add() -> None:
    frame = curve("toy-modular-addition").to_frame().set_index("step")
    by_heart = frame.index[frame["train_accuracy"] > 0.99][0]
    able = frame.index[frame["test_accuracy"] > 0.99][0]
    assert able > 5 * by_heart
    assert frame.loc[by_heart, "test_accuracy"] < 0.1


def test_the_adders_progress_measures_move_before_its_test_accuracy() -> None:
    shown = curve("toy-modular-addition")
    frame = shown.to_frame().set_index("step")
    start = shown.change.start
    memorised = frame.index[frame["train_accuracy"] > 0.99][0]
    # While the test set is still failed, the periodic solution grows and memory is relied on less.
    assert frame.loc[start, "test_accuracy"] < 0.15
    assert frame.loc[start, "restricted_loss"] < 0.5 * frame.loc[memorised, "restricted_loss"]
    assert frame.loc[start, "excluded_loss"] > 100 * frame.loc[:start, "excluded_loss"].min()
    assert frame["key_share"].iloc[-1] > frame.loc[start, "key_share"] > frame.loc[memorised, "key_share"]
    assert frame["gini"].iloc[-1] > frame.loc[memorised, "gini"]
    assert frame["weight_norm"].iloc[-1] < 0.8 * frame.loc[memorised, "weight_norm"]


def test_a_few_frequencies_carry_the_adder(adder: ToyForCausalLM) -> None:
    logits = modular_addition.answer_logits(adder, modular_addition.all_pairs()).detach()
    keys = fourier.key_frequencies(logits)
    assert list(keys) == record("toy-modular-addition")["settings"]["key_frequencies"]
    assert 2 <= len(keys) <= 8
    waves = fourier.logit_waves(logits)
    assert float(waves[[key - 1 for key in keys]].sum()) > 0.9
    power = fourier.frequency_power(adder.model.embed_tokens.weight[: modular_addition.MODULUS])
    assert float(power[[key - 1 for key in keys]].sum() / power.sum()) > 0.9
    assert fourier.gini(power) > 0.8


def test_without_its_key_frequencies_the_adder_fails_and_without_others_it_does_not(
    adder: ToyForCausalLM, pairs: tuple[torch.Tensor, torch.Tensor]
) -> None:
    shown, _ = pairs
    logits = modular_addition.answer_logits(adder, modular_addition.all_pairs()).detach()
    keys = fourier.key_frequencies(logits)
    rows, answers = shown[:, 0] * 113 + shown[:, 1], shown.sum(dim=1) % 113

    def loss(table: torch.Tensor) -> float:
        return float(torch.nn.functional.cross_entropy(table[rows].double(), answers))

    others = [frequency for frequency in range(1, 57) if frequency not in keys]
    without_keys, without_others = loss(fourier.excluded(logits, keys)), loss(fourier.excluded(logits, others))
    assert without_keys > 4.7  # worse than guessing, which costs log 113
    assert without_others < 0.01
    for key in keys:
        assert loss(fourier.excluded(logits, [key])) > 100 * max(loss(fourier.excluded(logits, [others[0]])), 1e-9)


def test_a_head_brings_the_word_before_and_another_looks_for_it(
    repeater: ToyForCausalLM, phrases: torch.Tensor
) -> None:
    scores = induction.head_scores(repeater, phrases)
    assert float(scores.previous_token[0].max()) > 0.6
    assert float(scores.induction[1].max()) > 0.6
    # Layer 0 cannot know what came after a word's first occurrence.
    assert float(scores.induction[0].max()) < 0.1


def test_the_repeater_copies_and_needs_its_previous_token_head(repeater: ToyForCausalLM, phrases: torch.Tensor) -> None:
    def loss(model: PreTrainedModel) -> float:
        logits = model(phrases).logits[:, 32:-1]
        return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), phrases[:, 33:].flatten()))

    intact = loss(repeater)
    scores = induction.head_scores(repeater, phrases)
    losses = []
    for head in range(repeater.config.num_attention_heads):
        model, _ = load_toy("toy-induction")
        width = repeater.config.head_dim
        model.model.layers[0].self_attn.o_proj.weight[:, head * width : (head + 1) * width] = 0
        losses.append(loss(model))
    assert intact < 1
    assert losses.index(max(losses)) == int(scores.previous_token[0].argmax())
    assert max(losses) > intact + 2


def test_repeating_is_learned_at_once_and_after_the_table() -> None:
    frame = curve("toy-induction").to_frame().set_index("step")
    change = curve("toy-induction").change
    # Where the change begins, the table is known and no head of the pair is there yet; where it ends, both are.
    assert frame.loc[change.start, "loss_chain"] < 3.4
    assert frame.loc[change.start, "loss_second"] > 3.5
    assert frame.loc[change.start, "induction"] < 0.2
    assert frame.loc[change.end, "induction"] > 0.4
    assert frame.loc[change.end, "previous_token"] > 0.3
    assert frame["loss_second"].iloc[-1] < 0.5
    assert frame["loss_first"].iloc[-1] > 4


def test_dates_never_seen_come_out_right() -> None:
    model, tokenizer = load_toy("toy-dates")
    _, hidden = dates.split(torch.Generator().manual_seed(record("toy-dates")["seed"]))
    examples = dates.draw(200, hidden, torch.Generator().manual_seed(7))
    matches = dates.exact_matches(model, tokenizer, examples)
    assert sum(matches) >= 196


def test_dates_of_the_first_checkpoint_come_out_wrong() -> None:
    model, tokenizer = load_toy("toy-dates", step=0)
    _, hidden = dates.split(torch.Generator().manual_seed(0))
    examples = dates.draw(20, hidden, torch.Generator().manual_seed(7))
    assert not any(dates.exact_matches(model, tokenizer, examples))


def test_dense_features_get_a_dimension_each_and_rare_ones_share() -> None:
    model = load_superposition()
    d_hidden = model.W.shape[1]
    counts = model.n_represented
    assert model.density == tuple(sorted(model.density, reverse=True))
    assert counts[0] == d_hidden
    assert counts[-1] >= 2 * d_hidden
    assert all(later >= earlier for earlier, later in itertools.pairwise(counts))
    assert float(model.interference[0, :d_hidden].max()) < 0.1 < float(model.interference[-1, : 2 * d_hidden].min())


def test_dense_features_that_are_kept_are_the_most_important() -> None:
    lengths = load_superposition().lengths[0]
    torch.testing.assert_close((lengths > 0.5).nonzero()[:, 0], torch.arange(5))


def test_features_in_pairs_have_half_a_dimension_each() -> None:
    model = load_superposition()
    pairs = model.dimensionality[model.density.index(0.1)]
    kept = pairs[model.lengths[model.density.index(0.1)] > 0.5]
    torch.testing.assert_close(kept.median(), torch.tensor(0.5), rtol=0, atol=0.05)


def test_the_picture_of_superposition_shows_every_feature() -> None:
    model = load_superposition()
    picture = views.draw_superposition(model)
    assert [len(trace.x) for trace in picture.data] == [model.W.shape[2]] * len(model.density)
    for trace, lengths in zip(picture.data, model.lengths, strict=True):
        assert list(trace.y) == pytest.approx(lengths.clamp(max=1.1).tolist(), abs=1e-3)


@pytest.mark.parametrize("name", _WITH_PROMPTS)
def test_the_last_checkpoint_is_the_model(name: str) -> None:
    last = load_toy(name, step=checkpoints(name)[-1])[0].state_dict()
    for key, weight in load_toy(name)[0].state_dict().items():
        torch.testing.assert_close(last[key], weight, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["toy-induction", "toy-modular-addition"])
def test_half_precision_keeps_what_a_checkpoint_showed(name: str) -> None:
    frame = curve(name).to_frame().set_index("step")
    step = curve(name).change.middle
    model, _ = load_toy(name, step=step)
    assert isinstance(model, ToyForCausalLM)
    if name == "toy-induction":
        generator = torch.Generator().manual_seed(record(name)["seed"])
        found = induction.losses(model, induction.draw(256, induction.chain(), generator))["loss_second"]
        expected = frame.loc[step, "loss_second"]
    else:
        _, hidden = modular_addition.split(torch.Generator().manual_seed(record(name)["seed"]))
        logits = modular_addition.answer_logits(model, hidden)
        found = float((logits.argmax(dim=1) == hidden.sum(dim=1) % 113).double().mean())
        expected = frame.loc[step, "test_accuracy"]
    assert found == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("name", ["toy", "", 3, "../toy-dates"])
def test_an_unknown_toy_is_refused(name: str) -> None:
    with pytest.raises(UnknownModel, match=r"toy unknown: expected one of toy-induction, .*; try 'toy-induction'"):
        toy_folder(name)


def test_a_toy_without_prompts_is_refused_where_a_model_is_expected() -> None:
    with pytest.raises(UnknownModel, match=r"got 'toy-superposition'; load it with tlab.training.load_superposition"):
        load_toy("toy-superposition")


@pytest.mark.parametrize("step", [1, -1, "last"])
def test_a_step_without_checkpoint_is_refused(step: int) -> None:
    with pytest.raises(UnknownOption, match=r"step refused: expected one of 0, .* at toy-induction; try 0"):
        load_toy("toy-induction", step=step)
    with pytest.raises(UnknownOption, match="at toy-superposition; try 0"):
        load_superposition(step=step)


def test_a_missing_folder_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(store, "__file__", str(tmp_path / "store.py"))
    with pytest.raises(MissingModelSource, match=r"has no weights: .*; train them with: python -m tlab.training dates"):
        toy_folder("toy-dates")
