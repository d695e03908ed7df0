"""`patch` and `patch_sweep`: what comes along from the other run, cell by cell equal to one run at a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch

import tlab
from tlab import metrics
from tlab.engine import Edit, run
from tlab.errors import UnequalPrompts, UnknownOption, UnknownTarget

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlab import Model

CLEAN, CORRUPTED = "one and two", "one or three"[:11]
MARY = "When Mary and John went to the store, John gave a drink to"
JOHN = "When Mary and John went to the store, Mary gave a drink to"
METRIC = metrics.logit_diff("a", "b")
STREAMS = {"resid_pre": "resid_pre", "resid_mid": "resid_mid", "attn_out": "attn.out", "mlp_out": "mlp.out"}
# Wirings and attentions of different kinds; the oracle tests of the engine go over all architectures.
SPECIMENS = ("gpt2", "llama-grouped", "gpt-neox", "gemma-2", "bloom", "falcon", "gpt-neo", "olmo-2", "t5")


@pytest.fixture(scope="module", params=SPECIMENS)
def wired(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Load one tiny model of each kind, tokenizer included."""
    import zoo  # noqa: PLC0415  imports many model classes

    return tlab.load(str(zoo.write(request.param, tmp_path_factory.mktemp(request.param))))


def _alone(model: Model, site: str, *, head: int | None, pos: int | None) -> float:
    """Patch one place by hand: a run with one edit, whose value comes from another run."""
    clean, corrupted = model.to_ids(CLEAN), model.to_ids(CORRUPTED)
    value = run(model, clean, sites=[site]).captured[site]

    def replace(tensor: torch.Tensor) -> torch.Tensor:
        if pos is not None:
            tensor[:, pos] = value[:, pos]
        elif site.endswith("pattern"):
            tensor[:, head] = value[:, head]
        else:
            tensor[:, :, head] = value[:, :, head]
        return tensor

    logits = run(model, corrupted, edits=[Edit(site, replace)], read=(-1,)).logits
    return float(METRIC.bind(model, corrupted)(logits))


@pytest.mark.parametrize("over", [*STREAMS, "heads", "q", "k", "v", "pattern"])
def test_every_cell_is_one_run_with_one_edit(wired: Model, over: str) -> None:
    if wired.family == "encoder-decoder" or (over == "resid_mid" and "blocks.0.resid_mid" not in wired.sites):
        with pytest.raises(tlab.TlabError):
            tlab.patch_sweep(wired, CLEAN, CORRUPTED, over=over, metric=METRIC)
        return
    swept = tlab.patch_sweep(wired, CLEAN, CORRUPTED, over=over, metric=METRIC)
    assert swept.is_complete
    n_columns = swept.values.shape[1]
    for layer, column in [(0, 0), (0, n_columns - 1), (1, n_columns // 2), (2, n_columns - 1)]:
        if over in STREAMS:
            expected = _alone(wired, f"blocks.{layer}.{STREAMS[over]}", head=None, pos=column)
        else:
            step = {"heads": "z"}.get(over, over)
            turned = f"blocks.{layer}.attn.rot_{step}"
            site = turned if turned in wired.sites else f"blocks.{layer}.attn.{step}"
            expected = _alone(wired, site, head=column, pos=None)
        torch.testing.assert_close(float(swept.values[layer, column]), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_patching_the_whole_stream_at_layer_0_is_the_other_run(tiny: Model, direction: str) -> None:
    result = tlab.patch(tiny, CLEAN, CORRUPTED, "L0.resid_pre", direction=direction, metric=METRIC)
    other = result.clean_value if direction == "denoise" else result.corrupted_value
    torch.testing.assert_close(result.patched_value, other, rtol=0, atol=1e-4)
    torch.testing.assert_close(result.share, 1.0, rtol=0, atol=1e-3)
    assert result.clean_value != result.corrupted_value


@pytest.mark.parametrize("targets", ["L1H2", "L0.attn", "L2.mlp", "L1", "L1.resid_post", ["L0H0", "L2H3"]])
def test_patching_a_prompt_with_itself_changes_nothing(tiny: Model, targets: str | list[str]) -> None:
    result = tlab.patch(tiny, CLEAN, CLEAN, targets, metric=METRIC, controls=0)
    torch.testing.assert_close(result.patched_value, result.clean_value, rtol=0, atol=1e-4)
    # There is no way to go, so no share of it.
    assert math.isnan(result.share)
    assert "there is no difference" in result.explain()


@pytest.mark.parametrize("targets", ["L1H2", "L0.attn", "L2.mlp", "L1", "L1.resid_post"])
def test_a_patch_that_differs_changes_something(tiny: Model, targets: str) -> None:
    result = tlab.patch(tiny, CLEAN, CORRUPTED, targets, metric=METRIC, controls=0)
    assert abs(result.patched_value - result.corrupted_value) > 1e-5


def test_a_sweep_and_a_patch_agree(llama: Model) -> None:
    swept = tlab.patch_sweep(llama, CLEAN, CORRUPTED, over="heads", metric=METRIC)
    alone = tlab.patch(llama, CLEAN, CORRUPTED, "L1H3", metric=METRIC)
    torch.testing.assert_close(float(swept.values[1, 3]), alone.patched_value, rtol=0, atol=1e-4)
    torch.testing.assert_close(float(swept.shares[1, 3]), alone.share, rtol=0, atol=1e-4)


def test_places_before_the_first_difference_are_the_base_run(llama: Model) -> None:
    swept = tlab.patch_sweep(llama, CLEAN, CORRUPTED, over="resid_pre", metric=METRIC)
    assert set(swept.values[:, :4].flatten().tolist()) == {swept.corrupted_value}
    assert not bool(swept.values[:, 4:].isnan().any())


def test_positions_and_tokens_limit_a_patch(llama: Model) -> None:
    everywhere = tlab.patch(llama, CLEAN, CORRUPTED, "L0.resid_pre", metric=METRIC, positions=range(11))
    last = tlab.patch(llama, CLEAN, CORRUPTED, "L0.resid_pre", metric=METRIC, positions=[-1])
    assert last.positions == (10,)
    torch.testing.assert_close(everywhere.patched_value, everywhere.clean_value, rtol=0, atol=1e-4)
    assert abs(last.share - 1) > 0.01


def test_controls_are_other_parts_of_the_same_kind_and_number(llama: Model) -> None:
    result = tlab.patch(llama, CLEAN, CORRUPTED, ["L0H0", "L1H1"], metric=METRIC, controls=4, seed=3)
    assert len(result.controls) == 4
    for names in result.controls:
        assert len(names.split()) == 2
        assert not {"L0H0", "L1H1"} & set(names.split())
    again = tlab.patch(llama, CLEAN, CORRUPTED, ["L0H0", "L1H1"], metric=METRIC, controls=4, seed=3)
    assert again.controls == result.controls


def test_without_a_metric_the_two_answers_are_compared(llama: Model) -> None:
    answers = [tlab.predict(llama, prompt, k=1).token for prompt in (CLEAN, CORRUPTED)]
    result = tlab.patch(llama, CLEAN, CORRUPTED, "L0H0")
    assert all(repr(answer) in result.metric for answer in answers)


def test_an_interrupt_keeps_what_was_found(llama: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from tlab.engine import Sweep  # noqa: PLC0415

    whole = Sweep.run

    def stopped(self: Sweep, measure: Callable[[torch.Tensor], torch.Tensor]) -> object:
        for n_done, found in enumerate(whole(self, measure)):
            if n_done == 2:
                raise KeyboardInterrupt
            yield found

    monkeypatch.setattr(Sweep, "run", stopped)
    swept = tlab.patch_sweep(llama, CLEAN, CORRUPTED, over="resid_pre", metric=METRIC)
    assert not swept.is_complete
    n_known = int((~swept.values.isnan()).sum())
    assert 0 < n_known < swept.values.numel()
    assert f"stopped after {n_known} of {swept.values.numel()} places" in swept.explain()
    assert swept.plot() is not None


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"corrupted": "one and two, three"}, UnequalPrompts, r"expected as many tokens in both, got 11 and 18"),
        ({"direction": "sideways"}, UnknownOption, r"expected 'denoise' or 'noise', got 'sideways'"),
        ({"positions": [11]}, UnknownOption, r"expected a whole number from -11 to 10, got 11"),
        ({"targets": "L3H0"}, UnknownTarget, r"expected layers 0 to 2 and heads 0 to 3, got 'L3H0'"),
        ({"targets": "resid"}, UnknownTarget, r"expected 'L3H4', .*'L3.resid_pre'"),
        ({"metric": "loss"}, UnknownOption, r"expected one of tlab.metrics, got 'loss'"),
        ({"controls": -1}, UnknownOption, r"expected a whole number from 0 to 1000, got -1"),
    ],
)
def test_bad_input_gets_one_clear_sentence(
    llama: Model, arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    given = {"corrupted": CORRUPTED, "targets": "L0H0", **arguments}
    with pytest.raises(error, match=message):
        tlab.patch(llama, CLEAN, **given)


def test_unequal_prompts_are_told_where_they_part(llama: Model) -> None:
    with pytest.raises(UnequalPrompts, match=r"at token 9 \['w', 'o'\] stands against \['h', 'r', 'e', 'e'\]"):
        tlab.patch(llama, "one and two", "one and three", "L0H0")


@pytest.mark.parametrize("over", ["resid", "head", "", None])
def test_an_unknown_kind_of_sweep_is_refused(llama: Model, over: object) -> None:
    with pytest.raises(UnknownOption, match="over refused: expected one of resid_pre"):
        tlab.patch_sweep(llama, CLEAN, CORRUPTED, over=over)


@pytest.mark.slow
def test_the_name_lives_at_its_position_and_then_at_the_end(model: Model) -> None:
    swept = tlab.patch_sweep(model, MARY, JOHN, over="resid_pre", metric=metrics.logit_diff(" Mary", " John"))
    shares = swept.shares
    # The prompts differ in the name at position 9 alone; the answer is read at position 13.
    torch.testing.assert_close(float(shares[0, 9]), 1.0, rtol=0, atol=1e-3)
    assert float(shares[-1, 9]) < 0.1
    assert float(shares[-1, 13]) > 0.8
    assert not bool(shares[:, :9].any())
    alone = tlab.patch(model, MARY, JOHN, "L15.resid_pre", positions=[9], metric=metrics.logit_diff(" Mary", " John"))
    torch.testing.assert_close(float(swept.values[15, 9]), alone.patched_value, rtol=0, atol=1e-4)


def test_the_table_counts_places_in_whole_numbers(llama: Model) -> None:
    for verb in (tlab.patch_sweep, tlab.attribution_patch_sweep):
        frame = verb(llama, CLEAN, CORRUPTED, metric=METRIC).to_frame()
        assert list(frame.columns) == ["layer", "pos", "token", "value", "share"]
        assert [str(frame[name].dtype) for name in ("layer", "pos")] == ["int64", "int64"]
        assert frame["pos"].tolist() == 3 * list(range(11))
        assert frame["token"].tolist() == 3 * list(CLEAN)
        heads = verb(llama, CLEAN, CORRUPTED, over="heads", metric=METRIC).to_frame()
        assert list(heads.columns) == ["layer", "head", "value", "share"]
        assert heads["head"].tolist() == 3 * [0, 1, 2, 3]


@pytest.mark.parametrize("over", ["k", "v"])
def test_shared_keys_and_values_are_called_what_they_are(
    llama: Model, dissected: Callable[..., Model], over: str
) -> None:
    n_sharing = llama.n_heads // llama.n_kv_heads
    assert n_sharing > 1
    for verb in (tlab.patch_sweep, tlab.attribution_patch_sweep):
        shared = verb(llama, CLEAN, CORRUPTED, over=over, metric=METRIC)
        assert shared.column_axis == "kv_head"
        assert shared.to_frame()["kv_head"].tolist() == 3 * list(range(llama.n_kv_heads))
        assert "head" not in shared.to_frame()
        assert shared.plot().layout.xaxis.title.text == "kv_head"
        row = shared.to_frame().sort_values("share", key=abs, ascending=False).iloc[0]
        first = int(row["kv_head"]) * n_sharing
        named = f"layer {int(row['layer'])} kv_head {int(row['kv_head'])} (shared by heads {first} to "
        assert f"{named}{first + n_sharing - 1})" in shared.explain()
        own = verb(dissected("gpt2"), CLEAN, CORRUPTED, over=over, metric=METRIC)
        assert own.column_axis == "head"
        assert "kv_head" not in own.explain()
    assert "kv_head" in tlab.patch_sweep(llama, CLEAN, CORRUPTED, over=over, metric=METRIC).code("torch")
