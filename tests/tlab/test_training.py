"""The toys' architecture, their training loop, the rule for phase changes, and the writing of their folders."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tlab.errors import UnknownOption
from tlab.training import (
    ToyConfig,
    ToyForCausalLM,
    TrainingCurve,
    dates,
    induction,
    modular_addition,
    phase_change,
    superposition,
    write,
)
from tlab.training import __main__ as command
from tlab.training.fitting import Plan, fit, seeded
from tlab.views import training as views

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tlab.training import Trained

_TRAININGS: dict[str, Callable[..., Trained]] = {
    "toy-induction": induction.train,
    "toy-modular-addition": modular_addition.train,
    "toy-dates": dates.train,
    "toy-superposition": superposition.train,
}
_SHAPES = {
    "attention-only": ToyConfig(initializer_range=0.3),
    "with-mlp": ToyConfig(initializer_range=0.3, intermediate_size=48, num_hidden_layers=1, max_position_embeddings=16),
    "with-norms": ToyConfig(initializer_range=0.3, intermediate_size=48, norm_type="layernorm", head_dim=8),
}


@pytest.fixture(params=_SHAPES)
def toy(request: pytest.FixtureRequest) -> ToyForCausalLM:
    with seeded(0):
        model = ToyForCausalLM(copy.deepcopy(_SHAPES[request.param]))
    model.train(mode=False)
    return model


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(64, (2, 12), generator=torch.Generator().manual_seed(1))


def test_attention_written_out_equals_torchs_own(toy: ToyForCausalLM, ids: torch.Tensor) -> None:
    toy.set_attn_implementation("sdpa")
    fast = toy(ids).logits
    toy.set_attn_implementation("eager")
    torch.testing.assert_close(toy(ids).logits, fast, rtol=1e-4, atol=1e-4)


def test_attention_goes_through_hugging_faces_interface(
    toy: ToyForCausalLM, ids: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def silent(
        module: torch.nn.Module,
        query: torch.Tensor,
        *_: torch.Tensor,
        **__: object,
    ) -> tuple[torch.Tensor, None]:
        seen.append(module)
        return torch.zeros_like(query).transpose(1, 2), None

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "silent", silent)
    toy.config._attn_implementation = "silent"
    toy(ids)
    assert seen == [layer.self_attn for layer in toy.model.layers]


def test_a_later_token_changes_nothing_before_it(toy: ToyForCausalLM, ids: torch.Tensor) -> None:
    other = ids.clone()
    other[:, -1] = (ids[:, -1] + 1) % 64
    torch.testing.assert_close(toy(other).logits[:, :-1], toy(ids).logits[:, :-1])
    assert (toy(other).logits[:, -1] - toy(ids).logits[:, -1]).abs().max() > 1e-3


def test_a_masked_token_changes_nothing_after_it(toy: ToyForCausalLM, ids: torch.Tensor) -> None:
    mask = torch.ones_like(ids)
    mask[:, 0] = 0
    other = ids.clone()
    other[:, 0] = (ids[:, 0] + 1) % 64
    masked = toy(ids, attention_mask=mask).logits[:, 1:]
    torch.testing.assert_close(toy(other, attention_mask=mask).logits[:, 1:], masked)
    assert (toy(ids).logits[:, 1:] - masked).abs().max() > 1e-3


def test_positions_are_those_that_are_asked_for(toy: ToyForCausalLM, ids: torch.Tensor) -> None:
    places = torch.arange(12)[None]
    torch.testing.assert_close(toy(ids, position_ids=places).logits, toy(ids).logits)
    assert (toy(ids, position_ids=places + 1).logits - toy(ids).logits).abs().max() > 1e-3


def test_streams_and_patterns_can_be_asked_for(toy: ToyForCausalLM, ids: torch.Tensor) -> None:
    toy.set_attn_implementation("eager")
    outputs = toy(ids, output_attentions=True, output_hidden_states=True)
    n_layers, n_heads = toy.config.num_hidden_layers, toy.config.num_attention_heads
    assert [pattern.shape for pattern in outputs.attentions] == [(2, n_heads, 12, 12)] * n_layers
    assert len(outputs.hidden_states) == n_layers + 1
    torch.testing.assert_close(outputs.attentions[0].sum(dim=-1), torch.ones(2, n_heads, 12))
    torch.testing.assert_close(toy.lm_head(outputs.hidden_states[-1]), outputs.logits)


def test_every_parameter_matters(toy: ToyForCausalLM, ids: torch.Tensor) -> None:
    before = toy(ids).logits.detach()
    for name, parameter in toy.named_parameters():
        kept = parameter.detach().clone()
        parameter.data += 0.3 * torch.randn(kept.shape, generator=torch.Generator().manual_seed(0))
        assert (toy(ids).logits - before).abs().max() > 1e-4, name
        parameter.data.copy_(kept)
    torch.testing.assert_close(toy(ids).logits.detach(), before)


def test_a_saved_toy_is_read_back_as_it_was(toy: ToyForCausalLM, ids: torch.Tensor, tmp_path: Path) -> None:
    toy.save_pretrained(tmp_path)
    again = ToyForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(again(ids).logits, toy(ids).logits, rtol=0, atol=0)


def test_an_unknown_norm_is_refused() -> None:
    with pytest.raises(UnknownOption, match=r"norm_type refused: expected 'none' or 'layernorm', got 'rms'"):
        ToyConfig(norm_type="rms")


@pytest.mark.parametrize("name", _TRAININGS)
def test_the_same_seed_gives_the_same_weights(name: str) -> None:
    first, second = _TRAININGS[name](steps=3), _TRAININGS[name](steps=3)
    assert first.fitted.losses == second.fitted.losses
    assert first.fitted.history.keys() == second.fitted.history.keys() == {0, 3}
    for key, weight in first.fitted.history[3].items():
        torch.testing.assert_close(second.fitted.history[3][key], weight, rtol=0, atol=0)
        moved = first.fitted.history[0][key]
        assert not torch.equal(moved, weight) or not moved.any(), key


def test_another_seed_gives_other_weights() -> None:
    first, second = superposition.train(steps=2), superposition.train(steps=2, seed=1)
    assert not torch.equal(first.fitted.history[2]["W"], second.fitted.history[2]["W"])


def test_fewer_steps_are_the_beginning_of_the_same_training() -> None:
    short, longer = induction.train(steps=4), induction.train(steps=6)
    assert longer.fitted.losses[:4] == short.fitted.losses
    pd.testing.assert_series_equal(longer.frame.iloc[0], short.frame.iloc[0])


def test_training_leaves_the_random_numbers_of_others_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    superposition.train(steps=1)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


def test_the_learning_rate_rises_stays_and_falls() -> None:
    plan = Plan(steps=100, learning_rate=1.0, weight_decay=0.0, warmup_steps=10, final_fraction=0.5)
    rates = [plan.rate_at(step) for step in range(101)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert rates[10:51] == [1.0] * 41
    assert rates[75] == pytest.approx(0.5)
    assert rates[100] == 0.01


def test_weights_are_remembered_before_the_step_and_at_the_end() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    start = layer.weight.detach().clone()
    plan = Plan(steps=10, learning_rate=0.1, weight_decay=0.0, warmup_steps=1, measured_every=4)
    reported: list[int] = []
    fitted = fit(layer, lambda: layer.weight.square().sum(), plan, report=lambda step, _: reported.append(step))
    assert list(fitted.history) == [0, 4, 8, 10]
    assert reported == [0, 4, 8]
    torch.testing.assert_close(fitted.history[0]["weight"], start)
    torch.testing.assert_close(fitted.history[10]["weight"], layer.weight.detach())


@pytest.mark.parametrize("steps", [0, -1, 2.5, "ten"])
def test_a_training_without_steps_is_refused(steps: object) -> None:
    with pytest.raises(UnknownOption, match=r"steps refused: expected a whole number above 0, got .*; try 100"):
        superposition.train(steps=steps)  # type: ignore[arg-type]


def test_a_measure_that_was_not_taken_is_refused_by_name() -> None:
    frame = pd.DataFrame({"step": [0, 1], "loss": [1.0, 0.5], "accuracy": [0.0, 1.0]})
    for measure in ("los", "step", 3):
        with pytest.raises(UnknownOption, match=r"^measure refused: expected one of loss, accuracy, got .*; name a"):
            phase_change(frame, measure)  # type: ignore[arg-type]


def test_the_phase_change_is_where_the_measure_jumps() -> None:
    steps = np.arange(0, 1000, 10)
    values = np.where(steps < 500, 4.0, 1.0)
    values[50] = 2.0
    change = phase_change(pd.DataFrame({"step": steps, "loss": values}), "loss")
    assert (change.before, change.after, change.start, change.middle, change.end) == (4.0, 1.0, 490, 500, 510)
    assert change.share == pytest.approx(20 / 990)
    assert change.is_abrupt


def test_a_measure_that_grows_evenly_changes_gradually() -> None:
    frame = pd.DataFrame({"step": range(101), "accuracy": np.linspace(0, 1, 101)})
    change = phase_change(frame, "accuracy")
    assert not change.is_abrupt
    assert change.share > 0.7


def test_a_measure_that_does_not_move_has_no_interval() -> None:
    change = phase_change(pd.DataFrame({"step": [0, 1], "loss": [1.0, 1.0]}), "loss")
    assert (change.start, change.end) == (0, 0)
    assert not change.is_abrupt


def test_a_curve_says_when_it_changed_and_draws_what_has_the_same_unit() -> None:
    frame = pd.DataFrame({"step": [0, 1, 2, 3, 4, 5], "loss": [3.0, 3, 1, 1, 1, 1], "accuracy": [0.0, 0, 1, 1, 1, 1]})
    curve = TrainingCurve(name="toy-x", watched="loss", seed=0, checkpoints=(0, 5), frame=frame)
    assert "loss goes abruptly from 3 to 1." in curve.explain()
    assert "lie between steps 1 and 2, 20 % of the training" in curve.explain()
    picture = views.draw(curve)
    assert [trace.name for trace in picture.data] == ["loss"]
    assert list(picture.data[0].y) == frame["loss"].tolist()
    band = picture.layout.shapes[0]
    assert (band.x0, band.x1) == (1, 2)


@pytest.mark.parametrize("name", _TRAININGS)
def test_a_training_writes_its_folder(name: str, tmp_path: Path) -> None:
    trained = _TRAININGS[name](steps=2)
    folder = write(trained, tmp_path / "new" / name)
    files = {path.name for path in folder.iterdir()}
    assert {"model.safetensors", "config.json", "curve.csv", "training.json", "checkpoint-0.safetensors"} <= files
    assert ("tokenizer.json" in files) == (name != "toy-superposition")
    noted = json.loads((folder / "training.json").read_text())
    assert (noted["name"], noted["seed"], noted["steps"]) == (name, 0, 2)
    assert len(noted["first_losses"]) == 2
    assert list(tmp_path.iterdir()) == [tmp_path / "new"]
    assert list((tmp_path / "new").iterdir()) == [folder]


class _Failing:
    def save_pretrained(self, folder: Path) -> None:
        (folder / "config.json").write_text("{")
        raise OSError("no space left on device")


@pytest.mark.parametrize("was_there", [False, True])
def test_an_interrupted_writing_leaves_what_was_there(tmp_path: Path, *, was_there: bool) -> None:
    trained = superposition.train(steps=1)
    folder = tmp_path / "toy"
    before = {}
    if was_there:
        write(trained, folder)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
    object.__setattr__(trained, "parts", (*trained.parts, _Failing()))
    with pytest.raises(OSError, match="no space left"):
        write(trained, folder)
    assert [path.name for path in tmp_path.iterdir()] == (["toy"] if was_there else [])
    assert {path.name: path.read_bytes() for path in (folder.iterdir() if was_there else [])} == before


def test_the_command_trains_and_says_what_came_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["superposition", "--into", str(tmp_path / "s"), "--steps", "2", "--seed", "4"]) == 0
    said = capsys.readouterr()
    assert "toy-superposition, 2 steps, seed 4: loss goes" in said.out
    assert "step      0  loss of the batch" in said.err
    assert (tmp_path / "s" / "model.safetensors").is_file()


def test_the_command_refuses_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["superposition", "--into", str(tmp_path / "s"), "--steps", "0"]) == 1
    assert capsys.readouterr().err == "tlab.training: steps refused: expected a whole number above 0, got 0; try 100\n"
    assert not (tmp_path / "s").exists()


def test_an_interrupted_command_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(step: int, loss: float) -> None:
        raise KeyboardInterrupt(step, loss)

    monkeypatch.setattr(command, "_say", stop)
    assert command.main(["superposition", "--into", str(tmp_path / "s")]) == 1
    assert "interrupted; nothing was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
