"""`check` finds nothing wrong with any architecture, and finds what is broken in one that was broken on purpose."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import torch
import zoo

from tlab.checking import CheckReport, check
from tlab.errors import UnusablePrompt
from tlab.results import Result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tlab import Model
    from tlab.anatomy.parts import Block, Stack

_ALWAYS = {"stream", "reached", "rows", "z", "attn.out", "wiring", "edits"}


def test_every_architecture_is_what_its_names_say(specimen: str, dissected: Callable[..., Model]) -> None:
    report = check(dissected(specimen))
    assert report.is_ok, report.explain()
    assert report.failures == ()
    checks = set(report.frame["check"])
    traits = zoo.SPECIMENS[specimen].traits
    assert checks >= _ALWAYS | {"logits"}
    assert ("causal" in checks) == (zoo.SPECIMENS[specimen].family != "encoder")
    assert ("softmax" in checks) == ("sinks" not in traits)
    assert {"mlp.out", "neurons"} <= checks or "moe" in traits
    assert (report.frame["places"] > 0).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["gpt2", "gemma-2", "bloom", "gpt-j", "gpt-oss", "bert", "t5-gated", "marian"])
def test_the_tolerance_follows_the_kind_of_number(
    name: str, dtype: torch.dtype, dissected: Callable[..., Model]
) -> None:
    report = check(dissected(name, dtype))
    assert report.is_ok, report.explain()
    assert report.dtype == str(dtype).removeprefix("torch.")
    assert report.frame["tolerance"].max() == {torch.float64: 1e-6, torch.bfloat16: 0.05}[dtype]


def test_the_report_is_a_table_a_sentence_and_can_be_done_again(llama: Model, tmp_path: Path) -> None:
    report = check(llama)
    frame = report.to_frame()
    assert list(frame.columns) == ["check", "says", "error", "tolerance", "ok", "where", "places"]
    assert frame["places"].tolist()[:2] == [1, 3]
    measured = frame[frame["tolerance"] > 0]
    worst = measured.loc[(measured["error"] / measured["tolerance"]).idxmax()]
    assert report.explain().startswith(f"13 of 13 checks hold for {llama.name!r} in float32, on 44 tokens. ")
    assert f"The largest error is {worst['error']:.1e} ({worst['check']}, at {worst['where']})" in report.explain()
    assert "whether the weights are the right ones this does not show" in report.explain()
    loaded = Result.load(report.save(tmp_path / "report.tlab"))
    assert loaded.explain() == report.explain()
    pd.testing.assert_frame_equal(loaded.replay().to_frame(), frame)
    assert report.plot().data


def test_a_prompt_of_ones_own_may_be_given(llama: Model) -> None:
    assert check(llama, "ab").n_tokens == 2
    with pytest.raises(UnusablePrompt, match="prompt unusable"):
        check(llama, "")


def test_checking_leaves_the_model_as_it_was(llama: Model) -> None:
    def hooks() -> int:
        return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in llama.hf.modules())

    ids = llama.to_ids("abc")[None]
    # Hugging Face opens its own hooks when it is first asked for hidden states, and keeps them.
    before, fingerprint = llama.hf(ids, output_hidden_states=True).logits, llama.fingerprint
    n_hooks = hooks()
    check(llama)
    assert torch.equal(llama.hf(ids).logits, before)
    assert hooks() == n_hooks
    assert replace(llama).fingerprint == fingerprint
    assert torch.is_grad_enabled()


@pytest.mark.slow
def test_the_default_model_is_what_its_names_say(model: Model) -> None:
    report = check(model)
    assert report.is_ok, report.explain()
    assert len(report.frame) == 13
    assert report.frame.set_index("check").loc["wiring", "places"] == 30


# Models that are broken on purpose.


def _rebuilt(model: Model, stack: Stack) -> Model:
    return replace(model, anatomy=replace(model.anatomy, decoder=stack))


def _with_block(model: Model, change: Callable[[Block], Block], *, layer: int = 1) -> Model:
    """Return the model with one block described otherwise."""
    blocks = list(model.anatomy.decoder.blocks)
    blocks[layer] = change(blocks[layer])
    return _rebuilt(model, replace(model.anatomy.decoder, blocks=tuple(blocks)))


def _parallel(block: Block) -> Block:
    return replace(block, is_parallel=not block.is_parallel)


def _unscaled(block: Block) -> Block:
    return replace(block, scale=1.0)


def _normed_stream(block: Block) -> Block:
    return replace(block, adds_to_normed=not block.adds_to_normed)


def _without(place: str) -> Callable[[Block], Block]:
    return lambda block: replace(block, norms={name: norm for name, norm in block.norms.items() if name != place})


def _other_activation(block: Block) -> Block:
    assert block.mlp is not None
    return replace(block, mlp=replace(block.mlp, act=torch.tanh))


def _switched_halves(block: Block) -> Block:
    mlp = block.mlp
    assert mlp is not None
    up: Any = mlp.up
    return replace(block, mlp=replace(mlp, up=lambda stream: up(stream)[::-1]))


def _misread_heads(block: Block) -> Block:
    return replace(block, attn=replace(block.attn, n_heads=8, d_head=4))


@pytest.mark.parametrize(
    ("name", "change", "failing"),
    [
        ("llama-grouped", _parallel, {"logits", "stream", "wiring"}),
        ("phi", _parallel, {"logits", "stream", "wiring"}),
        ("granite", _unscaled, {"logits", "stream"}),
        ("bloom", _normed_stream, {"logits", "stream", "wiring"}),
        ("bloom-residual-after-norm", _normed_stream, {"logits", "stream", "wiring"}),
        ("bert", _without("mlp_sum"), {"logits", "stream", "wiring"}),
        ("gemma-2", _without("attn_post"), {"logits", "stream"}),
        ("gemma-2", _without("mlp"), {"logits", "stream"}),
        ("gpt2", _other_activation, {"logits", "stream"}),
        ("llama", _switched_halves, {"logits", "stream"}),
        ("gpt2", _misread_heads, {"attn.out"}),
    ],
)
def test_a_block_that_is_understood_wrongly_is_found(
    name: str, change: Callable[[Block], Block], failing: set[str], dissected: Callable[..., Model]
) -> None:
    sound = dissected(name)
    report = check(_with_block(sound, change))
    assert not report.is_ok
    assert failing <= set(report.failures)
    assert check(sound).is_ok
    said = report.explain()
    assert "Trust no experiment on this model" in said
    assert all(one in said for one in failing)
    if "stream" in failing:
        row = report.frame.set_index("check").loc["stream"]
        assert row["where"] == "blocks.2.resid_pre"
        assert row["error"] > 100 * row["tolerance"]


def test_blocks_in_the_wrong_order_are_found(dissected: Callable[..., Model]) -> None:
    model = dissected("llama")
    stack = model.anatomy.decoder
    report = check(_rebuilt(model, replace(stack, blocks=stack.blocks[::-1])))
    assert {"logits", "stream"} <= set(report.failures)


def test_a_missing_final_norm_is_found(dissected: Callable[..., Model]) -> None:
    model = dissected("gpt2")
    report = check(_rebuilt(model, replace(model.anatomy.decoder, final_norm=None)))
    assert set(report.failures) == {"logits"}


def test_a_head_that_is_understood_wrongly_is_found(dissected: Callable[..., Model]) -> None:
    model = dissected("gemma-2")
    assert model.anatomy.unembed is not None
    head = replace(model.anatomy.unembed, softcap=None)
    assert set(check(replace(model, anatomy=replace(model.anatomy, unembed=head))).failures) == {"logits"}


def test_an_output_projection_that_is_another_ones_is_found(dissected: Callable[..., Model]) -> None:
    # The model runs as it should; what would be wrong is every head's contribution to the logits.
    model = dissected("llama")
    other = model.anatomy.decoder.blocks[0].attn.out
    report = check(_with_block(model, lambda block: replace(block, attn=replace(block.attn, out=other))))
    assert set(report.failures) == {"attn.out"}
    assert report.frame.set_index("check").loc["attn.out", "where"] == "blocks.1.attn.out"


def test_an_encoder_that_is_taken_for_a_decoder_is_found(dissected: Callable[..., Model]) -> None:
    model = dissected("bert")
    report = check(_rebuilt(model, replace(model.anatomy.decoder, is_causal=True)))
    assert set(report.failures) == {"causal"}


def test_attention_that_no_longer_passes_through_tlab_is_found(dissected: Callable[..., Model]) -> None:
    # What `set_attn_implementation` of Hugging Face does to a model that is loaded already.
    model = dissected("llama-grouped")
    config = model.hf.config
    name = config._attn_implementation
    try:
        config._attn_implementation = "sdpa"
        report = check(model)
    finally:
        config._attn_implementation = name
    assert {"reached", "edits"} <= set(report.failures)
    rows = report.frame.set_index("check")
    # Rotated queries and keys, values, scores, pattern and z of three layers.
    assert rows.loc["reached", "error"] == 3 * 6
    assert rows.loc["edits", "error"] == 6
    assert check(model).is_ok


def test_weights_that_are_no_numbers_are_found() -> None:
    from tlab.loading import dissect  # noqa: PLC0415  the one model here that is spoilt itself

    hf = zoo.build("gpt2")
    model = dissect("gpt2", hf, zoo.byte_tokenizer("decoder"))
    weight = hf.transformer.h[1].mlp.c_fc.weight
    weight[0, 0] = float("nan")
    report = check(model)
    assert isinstance(report, CheckReport)
    assert {"logits", "stream", "wiring"} <= set(report.failures)
    assert "nan" in report.explain()
