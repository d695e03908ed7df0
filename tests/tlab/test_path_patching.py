"""Path patching: against full runs of plain Hugging Face in which everything but one path is frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import frozen
import pytest
import torch
from torch.testing import assert_close

from tlab import metrics
from tlab.engine import Sweep, run
from tlab.errors import UnequalPrompts, UnknownOption, UnknownTarget, UnusablePrompt
from tlab.experiments import path_patching
from tlab.experiments.path_patching import PathPatch, PathPatchSweep, path_patch, path_patch_sweep
from tlab.experiments.paths import Paths, parse_receivers, parse_sender, senders_before
from tlab.results import Result
from tlab.views import path_patching as view

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tlab import Model

_CLEAN, _CORRUPTED = "Ann saw Bob; Bob", "Ann saw Bob; Ann"
_METRIC = metrics.logit_diff("A", "B")
_PATHS = (
    ("L0H1", ("logits",)),
    ("L0H1", ("L2H3.q",)),
    ("L0H2", ("L1H0.k", "L1H1.v", "L2H2")),
    ("L0.mlp", ("L2H0.v", "L2.mlp")),
    ("L1H3", ("L1.mlp", "L2H1.k", "logits")),
    ("embed", ("L1H3", "L1.mlp", "logits")),
)
_IOI = (
    "When Mary and John went to the store, John gave a drink to",
    "When Mary and John went to the store, Mary gave a drink to",
)


@pytest.mark.parametrize("through_mlps", [False, True], ids=["direct", "mlps"])
@pytest.mark.parametrize("name", frozen.WIRINGS)
def test_a_path_carries_what_it_carries_when_plain_hugging_face_is_frozen_around_it(
    name: str,
    dissected: Callable[..., Model],
    *,
    through_mlps: bool,
) -> None:
    model, hf = dissected(name, torch.float64), frozen.plain(name)
    base, source = model.to_ids(_CLEAN), model.to_ids(_CORRUPTED)
    paths = Paths(model, base, source, through_mlps=through_mlps)
    untouched = run(model, base, read=(-1,)).logits[0]
    moved = []
    for sender, receivers in _PATHS:
        variants = paths.variants([parse_sender(sender, model)], parse_receivers(receivers, model))
        ((_, found),) = Sweep(model, base, variants, read=(-1,)).run(lambda logits: logits)
        expected = frozen.path_logits(
            hf, name, base[None], source[None], sender=sender, receivers=receivers, through_mlps=through_mlps
        )[:, -1]
        assert_close(found[0], expected, rtol=1e-5, atol=1e-6)
        moved.append(float((found[0] - untouched).abs().max()))
    assert sum(effect > 1e-3 for effect in moved) >= len(moved) - 1


@pytest.mark.parametrize("name", ["llama-grouped", "gemma-2", "gpt-j"])
def test_between_a_prompt_and_itself_no_path_carries_anything(name: str, dissected: Callable[..., Model]) -> None:
    model = dissected(name)
    for sender, receivers in _PATHS:
        found = path_patch(model, _CLEAN, _CLEAN, sender, receivers, metric=_METRIC, controls=0)
        assert found.patched_value == pytest.approx(found.clean_value, abs=1e-4)
        assert found.whole_value == pytest.approx(found.clean_value, abs=1e-4)


@pytest.mark.parametrize("name", ["llama-grouped", "phi"])
def test_with_all_readers_as_receivers_the_last_layers_only_path_is_the_whole_patch(
    name: str, dissected: Callable[..., Model]
) -> None:
    model = dissected(name)
    last = f"L{model.n_layers - 1}"
    found = path_patch(model, _CLEAN, _CORRUPTED, f"{last}.mlp", "logits", metric=_METRIC, controls=0)
    assert found.patched_value == pytest.approx(found.whole_value, abs=1e-4)
    assert abs(found.patched_value - found.clean_value) > 1e-2
    # A head of a sequential block is also heard by the block's MLP.
    head = path_patch(model, _CLEAN, _CORRUPTED, f"{last}H1", "logits", metric=_METRIC, controls=0)
    both = path_patch(model, _CLEAN, _CORRUPTED, f"{last}H1", "logits", metric=_METRIC, controls=0, through="mlps")
    assert both.patched_value == pytest.approx(both.whole_value, abs=1e-4)
    is_parallel = model.anatomy.decoder.blocks[0].is_parallel
    assert (abs(head.patched_value - head.whole_value) < 1e-4) == is_parallel


@pytest.mark.parametrize("through", ["direct", "mlps"])
@pytest.mark.parametrize("direction", ["noise", "denoise"])
def test_a_sweep_holds_what_single_paths_give(through: Any, direction: Any, llama: Model) -> None:  # noqa: ANN401  words
    arguments = {"metric": _METRIC, "through": through, "direction": direction}
    swept = path_patch_sweep(llama, _CLEAN, _CORRUPTED, ["L2H0.q", "L2.mlp"], **arguments)
    frame = swept.to_frame().set_index("sender")
    assert list(frame.index) == [
        "embed",
        *(f"L{layer}{part}" for layer in range(2) for part in ("H0", "H1", "H2", "H3", ".mlp")),
        *(f"L2H{head}" for head in range(4)),
    ]
    for sender in ("embed", "L0H2", "L1.mlp", "L2H3"):
        one = path_patch(llama, _CLEAN, _CORRUPTED, sender, ["L2H0.q", "L2.mlp"], controls=2, **arguments)
        assert frame.loc[sender, "value"] == pytest.approx(one.patched_value, abs=1e-4)
        assert frame.loc[sender, "share"] == pytest.approx(one.share, abs=1e-4)
        for control, share in one.controls.items():
            assert frame.loc[control, "share"] == pytest.approx(share, abs=1e-4)
    assert swept.values.shape == (3, 5)
    assert bool(swept.values[2, 4].isnan())


def test_denoising_lays_the_clean_path_into_the_corrupted_run(llama: Model) -> None:
    there = path_patch(llama, _CLEAN, _CORRUPTED, "L1H2", "logits", metric=_METRIC, direction="denoise", controls=0)
    swapped = path_patch(llama, _CORRUPTED, _CLEAN, "L1H2", "logits", metric=_METRIC, controls=0)
    assert there.patched_value == pytest.approx(swapped.patched_value, abs=1e-5)
    assert (there.clean_value, there.corrupted_value) == (swapped.corrupted_value, swapped.clean_value)
    assert there.share == pytest.approx(swapped.share, abs=1e-4)


def test_names_of_parts_are_read_and_written_alike(dissected: Callable[..., Model]) -> None:
    model = dissected("llama-grouped")
    for name in ("embed", "L1H2", "L0.attn", "L2.mlp"):
        assert str(parse_sender(name, model)) == name
    for name in ("L1H2.q", "L0H3.v", "L2.mlp", "logits"):
        assert [str(one) for one in parse_receivers(name, model)] == [name]
    assert [str(one) for one in parse_receivers("L1H2", model)] == ["L1H2.q", "L1H2.k", "L1H2.v"]
    before = [str(one) for one in senders_before(model, parse_receivers("L1.mlp", model))]
    assert before == ["embed", *(f"L0H{head}" for head in range(4)), "L0.mlp", *(f"L1H{head}" for head in range(4))]
    parallel = dissected("cohere")
    beside = [str(one) for one in senders_before(parallel, parse_receivers("L1.mlp", parallel))]
    assert beside == ["embed", *(f"L0H{head}" for head in range(4)), "L0.mlp"]


def test_a_whole_layer_of_attention_sends_what_its_heads_send(llama: Model) -> None:
    found = path_patch(llama, _CLEAN, _CORRUPTED, "L0.attn", "L1.mlp", metric=_METRIC, controls=1)
    heads = [
        path_patch(llama, _CLEAN, _CORRUPTED, f"L0H{head}", "L1.mlp", metric=_METRIC, controls=0) for head in range(4)
    ]
    assert list(found.controls) == ["L1.attn"]
    assert found.patched_value != pytest.approx(found.clean_value, abs=1e-3)
    assert all(one.patched_value != pytest.approx(found.patched_value, abs=1e-4) for one in heads)


@pytest.mark.parametrize(
    ("sender", "receivers", "message"),
    [
        ("L1H9", "logits", "target outside the model"),
        ("L1", "logits", "sender unknown: expected 'embed', 'L3H4', 'L3.attn' or 'L3.mlp', got 'L1'"),
        ("L0H0", "L1H2.z", "target unknown"),
        ("L0H0", "L1.attn", "receiver unknown: expected 'L3H4.q', 'L3H4', 'L3.mlp' or 'logits', got 'L1.attn'"),
        ("L0H0", [], "receiver unknown: expected at least one, got none"),
        ("L2H0", ["L1H2.q", "L2H1.k"], "path unknown: expected a receiver that reads what L2H0 writes"),
        (3, "logits", "target unknown"),
    ],
)
def test_parts_that_are_no_ends_of_a_path_are_refused(sender: Any, receivers: Any, message: str, llama: Model) -> None:  # noqa: ANN401
    with pytest.raises(UnknownTarget, match=message):
        path_patch(llama, _CLEAN, _CORRUPTED, sender, receivers, metric=_METRIC)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"through": "heads"}, "through refused: expected 'direct' or 'mlps', got 'heads'"),
        ({"direction": "up"}, "direction refused"),
        ({"controls": -1}, "controls refused"),
        ({"metric": 3}, "metric refused"),
    ],
)
def test_unknown_options_are_refused(options: dict[str, Any], message: str, llama: Model) -> None:
    with pytest.raises(UnknownOption, match=message):
        path_patch(llama, _CLEAN, _CORRUPTED, "L0H0", "logits", **{"metric": _METRIC, **options})


@pytest.mark.parametrize("name", ["bert", "opt-post-norm", "bloom-residual-after-norm"])
def test_models_whose_stream_is_no_sum_are_refused(name: str, dissected: Callable[..., Model]) -> None:
    with pytest.raises(
        UnknownOption, match="model refused: expected one whose stream is the sum of what its parts write"
    ):
        path_patch(dissected(name), _CLEAN, _CORRUPTED, "L0H0", "logits", metric=_METRIC)
    with pytest.raises(UnknownOption, match="model refused"):
        path_patch_sweep(dissected(name), _CLEAN, _CORRUPTED, "logits", metric=_METRIC)


def test_prompts_of_different_lengths_and_second_stacks_are_refused(
    llama: Model, dissected: Callable[..., Model]
) -> None:
    with pytest.raises(UnusablePrompt, match="expected a model with one stack"):
        path_patch(dissected("mbart"), _CLEAN, _CORRUPTED, "L0H0", "logits", metric=_METRIC)
    with pytest.raises(UnequalPrompts, match="prompts unequal"):
        path_patch(llama, _CLEAN, "Ann", "L0H0", "logits", metric=_METRIC)


def test_saved_paths_come_back_and_can_be_patched_again(llama: Model, tmp_path: Path) -> None:
    one = path_patch(llama, _CLEAN, _CORRUPTED, "L0H0", ("logits",), metric=_METRIC, controls=2)
    loaded = Result.load(one.save(tmp_path / "path.zip"))
    assert isinstance(loaded, PathPatch)
    assert loaded.explain() == one.explain()
    again = loaded.replay(llama)
    assert isinstance(again, PathPatch)
    assert again.controls == pytest.approx(one.controls, abs=1e-5)
    swept = path_patch_sweep(llama, _CLEAN, _CORRUPTED, "L2H0", metric=_METRIC)
    back = Result.load(swept.save(tmp_path / "paths.zip"))
    assert isinstance(back, PathPatchSweep)
    assert_close(back.values, swept.values, equal_nan=True)
    assert "; the median goes " in back.explain()


def test_an_interrupted_sweep_keeps_what_it_found_and_says_so(llama: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = path_patch_sweep(llama, _CLEAN, _CORRUPTED, "logits", metric=_METRIC)
    assert whole.is_complete
    assert "stopped" not in whole.explain()
    laid = Paths.variants
    turns = iter([1, 2])

    def interrupted(self: Paths, *given: Any) -> Any:  # noqa: ANN401  passed on
        if next(turns, None) is None:
            raise KeyboardInterrupt
        return laid(self, *given)

    monkeypatch.setattr(path_patching, "_MOST_AT_ONCE", 3)
    monkeypatch.setattr(Paths, "variants", interrupted)
    part = path_patch_sweep(llama, _CLEAN, _CORRUPTED, "logits", metric=_METRIC)
    assert len(part.to_frame()) == 6
    assert f"stopped after 6 of {whole.n_senders} paths" in part.explain()
    known = whole.to_frame().head(6)
    assert part.to_frame()["sender"].tolist() == known["sender"].tolist()
    assert part.to_frame()["value"].tolist() == pytest.approx(known["value"].tolist(), rel=1e-4)
    assert path_patch_sweep(llama, _CLEAN, _CORRUPTED, "logits", metric=_METRIC).explain().startswith("Nothing was")


def test_the_table_says_of_each_sender_which_part_it_is(llama: Model) -> None:
    frame = path_patch_sweep(llama, _CLEAN, _CORRUPTED, "logits", metric=_METRIC).to_frame()
    assert list(frame.columns) == ["sender", "layer", "part", "head", "value", "share"]
    assert str(frame["head"].dtype) == "Int64"
    assert str(frame["layer"].dtype) == "int64"
    assert frame["part"].tolist() == ["embed", *3 * ["head", "head", "head", "head", "mlp"]]
    heads = frame[frame["part"] == "head"]
    assert heads["head"].tolist() == 3 * [0, 1, 2, 3]
    names = [f"L{row.layer}H{row.head}" for row in heads.itertuples()]
    assert heads["sender"].tolist() == names
    assert frame.loc[frame["part"] != "head", "head"].isna().all()


def test_the_pictures_show_the_shares(llama: Model) -> None:
    one = path_patch(llama, _CLEAN, _CORRUPTED, "L0H0", "logits", metric=_METRIC, controls=2)
    bars = view.draw(one).data
    assert [bar.name for bar in bars] == ["path", "all paths", "control"]
    assert bars[0].x[0] == pytest.approx(one.share, abs=1e-3)
    assert len(bars[2].x) == 2
    swept = path_patch_sweep(llama, _CLEAN, _CORRUPTED, "logits", metric=_METRIC)
    heat = view.draw_sweep(swept).data[0]
    assert list(heat.x) == ["head 0", "head 1", "head 2", "head 3", "mlp"]
    assert heat.z[1][2] == pytest.approx(float(swept.shares[1, 2]), abs=1e-3)


@pytest.mark.slow
def test_on_a_trained_model_the_name_mover_writes_to_the_answer_directly(model: Model) -> None:
    found = path_patch(model, *_IOI, "L23H3", "logits", controls=0)
    assert found.share > 0.4
    assert found.share < found.whole_share
    read = path_patch(model, *_IOI, "L0.mlp", "L23H3.v", controls=0)
    by_key = path_patch(model, *_IOI, "L0.mlp", "L23H3.k", controls=0)
    assert read.share > 0.2
    assert abs(by_key.share) < 0.1
