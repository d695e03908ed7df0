"""Estimated patches: exact where the model is straight, the gradient times the change elsewhere."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal

import pytest
import torch
import zoo
from torch.testing import assert_close

from tlab import metrics
from tlab.engine import run
from tlab.errors import UnequalPrompts, UnknownOption, UnusablePrompt
from tlab.experiments.attribution_patching import AttributionSweep, attribution_patch_sweep, pearson
from tlab.experiments.patch_sweep import patch_sweep
from tlab.loading import dissect
from tlab.results import Result
from tlab.views import attribution_patching as view

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tlab import Model

_CLEAN, _CORRUPTED = "Ann saw Bob; Bob", "Ann saw Bob; Ann"
_OVER = ("resid_pre", "resid_mid", "attn_out", "mlp_out", "heads", "q", "k", "v", "pattern")
_METRIC = metrics.logit_diff("A", "B")
_IOI = (
    "When Mary and John went to the store, John gave a drink to",
    "When Mary and John went to the store, Mary gave a drink to",
)


def _straightened(name: str, norm: str) -> Model:
    """A specimen without its last norm: from the last block's outputs on, its logits are a straight line."""
    hf = copy.deepcopy(zoo.build(name))
    owner, _, last = norm.rpartition(".")
    setattr(hf.get_submodule(owner), last, torch.nn.Identity())
    return dissect(f"{name} without its last norm", hf, zoo.byte_tokenizer("decoder"))


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize(
    ("name", "norm", "over"),
    [
        ("gpt2", "transformer.ln_f", "mlp_out"),
        ("gpt2", "transformer.ln_f", "resid_pre"),
        *(("phi", "model.final_layernorm", over) for over in ("attn_out", "mlp_out", "heads", "v", "pattern")),
        ("llama-grouped", "model.norm", "mlp_out"),
    ],
)
def test_where_the_model_is_straight_the_estimate_is_the_patch(
    name: str,
    norm: str,
    over: Literal["resid_pre", "attn_out", "mlp_out", "heads", "v", "pattern"],
    direction: Literal["denoise", "noise"],
) -> None:
    model = _straightened(name, norm)
    arguments: dict[str, Any] = {"over": over, "metric": _METRIC, "direction": direction}
    estimated = attribution_patch_sweep(model, _CLEAN, _CORRUPTED, **arguments)
    patched = patch_sweep(model, _CLEAN, _CORRUPTED, **arguments)
    base = patched.corrupted_value if direction == "denoise" else patched.clean_value
    assert float((patched.values[-1] - base).abs().max()) > 1e-2
    if over == "resid_pre":
        # The block itself is curved; past it nothing is.
        assert float((estimated.values[-1] - patched.values[-1]).abs().max()) > 1e-3
        return
    assert_close(estimated.values[-1], patched.values[-1], rtol=1e-4, atol=1e-4)
    last = estimated.against(patched).iloc[-1]
    assert last["group"] == f"layer {model.n_layers - 1}"
    assert last["pearson_r"] == pytest.approx(1.0, abs=1e-5)
    assert last["mean_error"] == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("name", ["llama-grouped", "cohere", "bert"])
@pytest.mark.parametrize("over", _OVER)
def test_the_map_has_the_fields_of_a_patch_sweep(name: str, over: Any, dissected: Callable[..., Model]) -> None:  # noqa: ANN401
    model = dissected(name)
    if over == "resid_mid" and name == "cohere":
        with pytest.raises(UnknownOption, match="over refused"):
            attribution_patch_sweep(model, _CLEAN, _CORRUPTED, over=over, metric=_METRIC)
        return
    # These prompts hold no mask, where an encoder would answer.
    metric = metrics.logit_diff("A", "B", position=-1)
    estimated = attribution_patch_sweep(model, _CLEAN, _CORRUPTED, over=over, metric=metric)
    patched = patch_sweep(model, _CLEAN, _CORRUPTED, over=over, metric=metric)
    same = ("clean", "corrupted", "over", "direction", "metric", "unit", "rows", "columns", "column_axis", "tokens")
    for field in same:
        assert getattr(estimated, field) == getattr(patched, field)
    assert estimated.values.shape == patched.values.shape
    assert_close(torch.tensor(estimated.clean_value), torch.tensor(patched.clean_value), rtol=1e-4, atol=1e-4)
    assert_close(torch.tensor(estimated.corrupted_value), torch.tensor(patched.corrupted_value), rtol=1e-4, atol=1e-4)
    assert list(estimated.to_frame().columns) == list(patched.to_frame().columns)
    if name != "bert":
        # What both runs share cannot be patched, and has nothing to estimate.
        still = patched.values == patched.corrupted_value
        assert float((estimated.estimates[still]).abs().max() if bool(still.any()) else 0.0) < 1e-5


def test_the_estimate_is_the_change_times_the_gradient(dissected: Callable[..., Model]) -> None:
    model = dissected("llama-grouped")
    found = attribution_patch_sweep(model, _CLEAN, _CORRUPTED, over="heads", metric=_METRIC)
    clean, corrupted = (model.to_ids(text) for text in (_CLEAN, _CORRUPTED))
    measure = _METRIC.bind(model, clean)
    site = "blocks.1.attn.z"
    passed = run(model, corrupted, sites=[site], is_live=True)
    (slope,) = torch.autograd.grad(measure(passed.logits[:, -1:]).sum(), passed.captured[site])
    change = run(model, clean, sites=[site]).captured[site] - passed.captured[site].detach()
    assert_close(found.estimates[1], (change * slope)[0].sum((0, 2)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["llama-grouped", "gpt2", "phi"])
def test_with_many_steps_the_estimates_of_the_embeddings_add_up_to_the_whole_difference(
    name: str, dissected: Callable[..., Model]
) -> None:
    model = dissected(name)
    gaps = []
    for steps in (1, 4, 64):
        found = attribution_patch_sweep(model, _CLEAN, _CORRUPTED, metric=_METRIC, steps=steps)
        gaps.append(abs(float(found.estimates[0].sum()) - (found.clean_value - found.corrupted_value)))
    assert gaps[2] < 0.01 * abs(found.clean_value - found.corrupted_value)
    assert gaps[2] < gaps[0]
    assert f"add up to {100:.0f} % in layer 0" in found.explain()


def test_steps_are_taken_alike_from_both_ends(dissected: Callable[..., Model]) -> None:
    model = dissected("llama-grouped")
    there = attribution_patch_sweep(model, _CLEAN, _CORRUPTED, metric=_METRIC, steps=3)
    back = attribution_patch_sweep(model, _CLEAN, _CORRUPTED, metric=_METRIC, steps=3, direction="noise")
    assert_close(there.estimates, -back.estimates, rtol=1e-3, atol=1e-5)


def test_a_prompt_beside_itself_has_nothing_to_attribute(dissected: Callable[..., Model]) -> None:
    found = attribution_patch_sweep(dissected("llama-grouped"), _CLEAN, _CLEAN, metric=_METRIC)
    assert float(found.estimates.abs().max()) == 0.0
    assert "no difference to attribute" in found.explain()


def test_a_correlation_of_what_does_not_vary_is_no_number() -> None:
    row = torch.tensor([1.0, 2.0, 4.0])
    assert pearson(row, 3 * row + 1) == pytest.approx(1.0)
    assert pearson(row, -row) == pytest.approx(-1.0)
    assert torch.tensor(pearson(row, torch.ones(3))).isnan()


def test_a_saved_estimate_comes_back_and_can_be_done_again(llama: Model, tmp_path: Path) -> None:
    found = attribution_patch_sweep(llama, _CLEAN, _CORRUPTED, over="heads", metric=_METRIC, steps=2)
    loaded = Result.load(found.save(tmp_path / "estimate.zip"))
    assert isinstance(loaded, AttributionSweep)
    assert_close(loaded.values, found.values)
    again = loaded.replay(llama)
    assert isinstance(again, AttributionSweep)
    assert_close(again.values, found.values)
    assert again.explain() == found.explain()


def test_the_picture_shows_the_shares(llama: Model) -> None:
    found = attribution_patch_sweep(llama, _CLEAN, _CORRUPTED, over="mlp_out", metric=_METRIC)
    picture = view.draw(found)
    assert picture.data[0].z[-1][-1] == pytest.approx(float(found.shares[-1, -1]), abs=1e-3)
    assert "estimated" in picture.layout.title.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps refused: expected a whole number from 1 to 1000, got 0"),
        ({"steps": True}, "steps refused"),
        ({"over": "layers"}, "over refused"),
        ({"direction": "forth"}, "direction refused"),
        ({"metric": "logit"}, "metric refused"),
        ({"metric": metrics.kl()}, "metric refused: expected one with a slope"),
    ],
)
def test_what_cannot_be_estimated_is_refused(options: dict[str, Any], message: str, llama: Model) -> None:
    with pytest.raises(UnknownOption, match=message):
        attribution_patch_sweep(llama, _CLEAN, _CORRUPTED, **{"metric": _METRIC, **options})


def test_prompts_of_different_lengths_and_second_stacks_are_refused(
    llama: Model, dissected: Callable[..., Model]
) -> None:
    with pytest.raises(UnequalPrompts, match="prompts unequal"):
        attribution_patch_sweep(llama, _CLEAN, "Ann", metric=_METRIC)
    with pytest.raises(UnusablePrompt, match="expected a model with one stack"):
        attribution_patch_sweep(dissected("t5"), _CLEAN, _CORRUPTED, metric=_METRIC)


def test_only_a_sweep_of_the_same_places_can_be_compared(llama: Model) -> None:
    found = attribution_patch_sweep(llama, _CLEAN, _CORRUPTED, over="heads", metric=_METRIC)
    with pytest.raises(
        UnknownOption, match="comparison refused: expected a patch_sweep with over 'heads', got 'mlp_out'"
    ):
        found.against(patch_sweep(llama, _CLEAN, _CORRUPTED, over="mlp_out", metric=_METRIC))


@pytest.mark.slow
def test_on_a_trained_model_estimates_go_with_patches_and_steps_help(model: Model) -> None:
    heads = attribution_patch_sweep(model, *_IOI, over="heads")
    assert heads.against(patch_sweep(model, *_IOI, over="heads")).iloc[0]["pearson_r"] > 0.95
    streams = patch_sweep(model, *_IOI)
    rough, fine = (attribution_patch_sweep(model, *_IOI, steps=steps).against(streams).iloc[0] for steps in (1, 5))
    assert rough["pearson_r"] < 0.9
    assert fine["pearson_r"] > 0.98
    assert fine["mean_error"] < rough["mean_error"] / 2
