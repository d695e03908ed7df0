"""What must hold in any model: sums, empty edits, no silent no-op, and nothing left behind."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import torch
from torch.testing import assert_close

import tlab
from tlab.engine import Edit, run
from tlab.errors import UnusableEdit

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from tlab import Model

_PROMPT = "The capital of France is"
_REFERENCE = ("The dog ran home.", "A mat, 12 cats")
_TARGETS = ("L1H2", "L1.attn", "L1.mlp", "L1")
_METHODS = ("zero", "mean", "resample")


def _logits(model: Model, prompt: str = _PROMPT, **options: Any) -> Tensor:  # noqa: ANN401  passed on
    return run(model, model.to_ids(prompt), **options).logits


def _hooks_in(model: Model) -> int:
    # Some may be Hugging Face's own, which it opens when it is first asked for hidden states, and keeps.
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks)
        for module in model.hf.modules()
    )


def _fingerprint(model: Model) -> str:
    digest = hashlib.sha256()
    for parameter in model.hf.parameters():
        digest.update(parameter.detach().numpy().tobytes())
    return digest.hexdigest()


def test_what_attention_and_mlp_write_adds_up_to_the_stream(subject: Model) -> None:
    parts = ("resid_pre", "attn.out", "resid_mid", "mlp.out", "resid_post")
    sites = [f"blocks.{layer}.{part}" for layer in range(subject.n_layers) for part in parts]
    captured = tlab.capture(subject, _PROMPT, sites=sites)
    for layer in range(subject.n_layers):
        pre, attn, mid, mlp, post = (captured[f"blocks.{layer}.{part}"] for part in parts)
        assert_close(pre + attn, mid, atol=1e-4, rtol=1e-5)
        assert_close(pre + attn + mlp, post, atol=1e-4, rtol=1e-5)
        if layer:
            assert_close(pre, captured[f"blocks.{layer - 1}.resid_post"], atol=0, rtol=0)


def test_every_row_of_a_pattern_sums_to_one_and_reads_no_later_position(subject: Model) -> None:
    pattern = tlab.attention(subject, _PROMPT).pattern
    assert_close(pattern.sum(-1), torch.ones(pattern.shape[:-1]), atol=1e-5, rtol=0)
    assert not pattern.triu(1).any()
    assert (pattern >= 0).all()


def test_a_heads_output_is_its_pattern_times_the_values(subject: Model) -> None:
    for layer in (0, subject.n_layers - 1):
        sites = [f"blocks.{layer}.attn.{part}" for part in ("pattern", "v", "z", "scores")]
        pattern, values, z, scores = tlab.capture(subject, _PROMPT, sites=sites).values()
        shared = values.repeat_interleave(subject.n_heads // subject.n_kv_heads, dim=2)
        mixed = torch.einsum("bhds,bshe->bdhe", pattern, shared)
        assert_close(mixed, z, atol=1e-5, rtol=1e-4)
        assert_close(scores.softmax(-1), pattern, atol=1e-6, rtol=1e-5)


def test_the_neurons_times_the_output_weights_are_what_the_mlp_writes(subject: Model, plain: PreTrainedModel) -> None:
    layer = subject.n_layers // 2
    post, out = tlab.capture(
        subject, _PROMPT, sites=[f"blocks.{layer}.mlp.{part}" for part in ("post", "out")]
    ).values()
    is_gpt2 = plain.config.model_type == "gpt2"
    down = plain.transformer.h[layer].mlp.c_proj if is_gpt2 else plain.model.layers[layer].mlp.down_proj
    with torch.no_grad():
        assert_close(down(post), out, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", _METHODS)
def test_ablating_nothing_changes_nothing(tiny: Model, method: str) -> None:
    result = tlab.ablate(tiny, _PROMPT, [], method=method, reference=_REFERENCE)
    # Up to the order of the sums: the patched run computes fewer positions than the clean one.
    assert result.kl_nats == pytest.approx(0, abs=1e-6)
    assert result.patched_logit == pytest.approx(result.clean_logit, abs=1e-5)
    assert result.change == pytest.approx(0, abs=1e-6)
    assert result.targets == ()
    frame = result.to_frame()
    assert frame["patched"].tolist() == pytest.approx(frame["clean"].tolist(), abs=1e-6)
    assert "nothing ablated" in result.explain()


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("target", _TARGETS)
def test_ablating_something_changes_the_prediction(tiny: Model, target: str, method: str) -> None:
    result = tlab.ablate(tiny, _PROMPT, target, method=method, reference=_REFERENCE)
    assert result.kl_nats > 0
    assert result.patched_logit != result.clean_logit


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "method"), [("L15H4", "zero"), ("L15.attn", "mean"), ("L15.mlp", "resample"), ("L15", "mean")]
)
def test_ablating_something_changes_what_the_pretrained_model_says(model: Model, target: str, method: str) -> None:
    result = tlab.ablate(model, _PROMPT, target, method=method, reference=_REFERENCE)
    assert result.kl_nats > 0
    assert result.patched_logit != result.clean_logit


def test_every_site_of_the_model_is_captured_and_an_edit_there_has_an_effect(tiny: Model) -> None:
    clean = _logits(tiny)
    generator = torch.Generator().manual_seed(0)

    def disturb(tensor: Tensor) -> Tensor:
        noise = torch.randn(tensor.shape, generator=generator)
        return torch.where(torch.isfinite(tensor), noise, tensor)

    without_effect = []
    for site in tiny.sites:
        finished = run(tiny, tiny.to_ids(_PROMPT), sites=[site], edits=[Edit(site, disturb)])
        assert site in finished.captured
        if torch.equal(finished.logits, clean):
            without_effect.append(site)
    assert without_effect == []


@pytest.mark.slow
def test_an_edit_at_any_site_of_the_pretrained_model_has_an_effect(model: Model) -> None:
    clean = _logits(model)
    block = "blocks.7."
    sites = [site for site in model.sites if site.startswith(block)]
    assert len(sites) > 10
    for site in sites:
        patched = _logits(model, edits=[Edit(site, lambda tensor: tensor * 0.5)])
        # Scaling the stream before a norm leaves little; but it must not leave nothing.
        assert not torch.equal(patched, clean), site


def test_an_edit_that_returns_what_it_got_changes_nothing(tiny: Model) -> None:
    sites = [f"blocks.1.{part}" for part in ("resid_pre", "attn.pattern", "attn.z", "attn.out", "mlp.out")]
    same = _logits(tiny, edits=[Edit(site, lambda tensor: tensor) for site in sites])
    assert_close(same, _logits(tiny), atol=0, rtol=0)


def test_patching_a_run_with_itself_reproduces_it(subject: Model) -> None:
    layer = subject.n_layers // 2
    sites = [f"blocks.{layer}.{part}" for part in ("attn.q", "attn.v", "attn.z", "attn.out", "mlp.post", "resid_post")]
    captured = tlab.capture(subject, _PROMPT, sites=sites)
    same = _logits(subject, edits=[Edit(site, lambda _, site=site: captured[site]) for site in sites])
    assert_close(same, _logits(subject), atol=1e-5, rtol=1e-5)


def test_patching_the_first_stream_gives_the_other_run(subject: Model) -> None:
    other = "The capital of Poland is"
    assert len(subject.to_ids(other)) == len(subject.to_ids(_PROMPT))
    stream = tlab.capture(subject, other, sites="blocks.0.resid_pre")["blocks.0.resid_pre"]
    patched = _logits(subject, edits=[Edit("blocks.0.resid_pre", lambda _: stream)])
    assert_close(patched, _logits(subject, other), atol=1e-4, rtol=1e-4)


def test_a_site_that_is_edited_is_captured_as_edited(tiny: Model) -> None:
    finished = run(
        tiny, tiny.to_ids(_PROMPT), sites=["blocks.1.attn.z"], edits=[Edit("blocks.1.attn.z", torch.ones_like)]
    )
    assert (finished.captured["blocks.1.attn.z"] == 1).all()


def test_edits_at_one_site_are_applied_in_their_order(tiny: Model) -> None:
    edits = [Edit("blocks.1.mlp.out", lambda tensor: tensor + 1), Edit("blocks.1.mlp.out", lambda tensor: tensor * 2)]
    clean = tlab.capture(tiny, _PROMPT, sites=["blocks.1.mlp.out"])["blocks.1.mlp.out"]
    finished = run(tiny, tiny.to_ids(_PROMPT), sites=["blocks.1.mlp.out"], edits=edits)
    assert_close(finished.captured["blocks.1.mlp.out"], (clean + 1) * 2)


@pytest.mark.parametrize("method", _METHODS)
def test_all_heads_together_are_the_attention_layer(llama: Model, method: str) -> None:
    # Without an output bias, and with the same random choice in each head, the two are the same intervention.
    heads = [f"L1H{head}" for head in range(llama.n_heads)]
    together = tlab.ablate(llama, _PROMPT, heads, method=method, reference=_REFERENCE)
    layer = tlab.ablate(llama, _PROMPT, "L1.attn", method=method, reference=_REFERENCE)
    assert together.kl_nats == pytest.approx(layer.kl_nats, abs=1e-5)
    assert together.patched_logit == pytest.approx(layer.patched_logit, abs=1e-5)


def test_a_layer_is_its_attention_and_its_mlp(tiny: Model) -> None:
    both = tlab.ablate(tiny, _PROMPT, ["L1.mlp", "L1.attn"])
    layer = tlab.ablate(tiny, _PROMPT, "L1")
    pd.testing.assert_frame_equal(both.to_frame(), layer.to_frame())
    assert (both.targets, layer.targets) == (("L1.mlp", "L1.attn"), ("L1",))


@pytest.mark.parametrize("method", _METHODS)
def test_ablating_again_says_the_same(tiny: Model, method: str) -> None:
    first, second = (tlab.ablate(tiny, _PROMPT, _TARGETS, method=method, reference=_REFERENCE) for _ in range(2))
    pd.testing.assert_frame_equal(first.to_frame(), second.to_frame())
    assert first.kl_nats == second.kl_nats


def test_references_may_come_from_any_iterable(llama: Model) -> None:
    listed = tlab.ablate(llama, _PROMPT, "L1", method="mean", reference=list(_REFERENCE))
    streamed = tlab.ablate(llama, _PROMPT, "L1", method="mean", reference=(text for text in _REFERENCE))
    assert streamed.kl_nats == listed.kl_nats > 0


def test_resample_depends_on_its_seed_alone(llama: Model) -> None:
    def kl(seed: int) -> float:
        return tlab.ablate(llama, _PROMPT, "L1", method="resample", reference=_REFERENCE, seed=seed).kl_nats

    state = torch.random.get_rng_state()
    first = kl(1)
    torch.manual_seed(99)
    assert kl(1) == first
    assert kl(2) != first
    torch.random.set_rng_state(state)
    kl(3)
    assert torch.equal(torch.random.get_rng_state(), state)


class _InterruptedByTest(Exception):
    pass


def _fail(tensor: Tensor) -> Tensor:
    raise _InterruptedByTest(tensor.shape)


def test_after_an_exception_in_an_edit_no_hook_is_left(subject: Model) -> None:
    clean, hooks = _logits(subject), _hooks_in(subject)
    edits = [Edit("blocks.0.attn.z", torch.zeros_like), Edit("blocks.1.mlp.out", _fail)]
    with pytest.raises(_InterruptedByTest):
        _logits(subject, edits=edits, sites=["blocks.2.resid_post"])
    assert _hooks_in(subject) == hooks
    assert torch.is_grad_enabled()
    assert_close(_logits(subject), clean, atol=0, rtol=0)


def test_after_an_unknown_site_no_hook_is_left(tiny: Model) -> None:
    clean, hooks = _logits(tiny), _hooks_in(tiny)
    with pytest.raises(tlab.TlabError, match="site unknown"):
        _logits(tiny, edits=[Edit("blocks.0.attn.z", torch.zeros_like)], sites=["blocks.0.nothing"])
    assert _hooks_in(tiny) == hooks
    assert_close(_logits(tiny), clean, atol=0, rtol=0)


def test_no_module_holds_a_hook_between_runs(subject: Model) -> None:
    hooks = _hooks_in(subject)
    tlab.ablate(subject, _PROMPT, "L1", method="mean", reference=_REFERENCE)
    tlab.attention(subject, _PROMPT)
    tlab.capture(subject, _PROMPT, sites=subject.sites[:12])
    assert _hooks_in(subject) == hooks


def test_an_edit_of_another_shape_is_refused(tiny: Model) -> None:
    with pytest.raises(UnusableEdit, match=r"edit refused: expected a tensor of shape .* at blocks\.1\.attn\.z; "):
        _logits(tiny, edits=[Edit("blocks.1.attn.z", lambda tensor: tensor[:, :1])])


def test_captured_tensors_are_copies(subject: Model) -> None:
    clean, before = _logits(subject), _fingerprint(subject)
    parts = ("resid_pre", "attn.q", "attn.k", "attn.v", "attn.pattern", "attn.z", "attn.out", "mlp.post", "mlp.out")
    sites = [f"blocks.{layer}.{part}" for layer in (0, subject.n_layers - 1) for part in parts]
    sites += ["embed", "ln_final.out", "logits"]
    captured = tlab.capture(subject, _PROMPT, sites=sites)
    owned = {parameter.untyped_storage().data_ptr() for parameter in subject.hf.parameters()}
    storages = {tensor.untyped_storage().data_ptr() for tensor in captured.values()}
    assert len(storages) == len(sites)
    assert not storages & owned
    for tensor in captured.values():
        assert not tensor.requires_grad
        tensor.fill_(float("nan"))
    assert_close(_logits(subject), clean, atol=0, rtol=0)
    assert _fingerprint(subject) == before


def test_changing_a_capture_in_mid_run_does_not_reach_the_run(tiny: Model) -> None:
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor.clone()

    def spoil(tensor: Tensor) -> Tensor:
        kept[0].fill_(float("nan"))
        return tensor

    patched = _logits(tiny, edits=[Edit("blocks.0.attn.z", keep), Edit("blocks.1.mlp.out", spoil)])
    assert_close(patched, _logits(tiny), atol=0, rtol=0)


def test_an_edit_gets_a_copy_that_it_may_spoil(llama: Model) -> None:
    clean = _logits(llama)

    def spoil(tensor: Tensor) -> Tensor:
        replacement = tensor.clone()
        tensor.fill_(float("nan"))
        return replacement

    for site in llama.sites:
        assert_close(_logits(llama, edits=[Edit(site, spoil)]), clean, atol=0, rtol=0, msg=site)


def test_a_run_keeps_no_gradients(llama: Model) -> None:
    seen: list[bool] = []

    def look(tensor: Tensor) -> Tensor:
        seen.append(torch.is_grad_enabled())
        return tensor

    learnt = torch.ones(llama.d_model, requires_grad=True)
    edits = [Edit("blocks.1.attn.out", look), Edit("blocks.1.mlp.out", lambda tensor: tensor * learnt)]
    finished = run(llama, llama.to_ids(_PROMPT), sites=["blocks.2.resid_post"], edits=edits)
    assert seen == [False]
    assert not finished.logits.requires_grad
    assert not finished.captured["blocks.2.resid_post"].requires_grad


def test_two_sites_with_the_same_tensor_are_captured_apart(llama: Model) -> None:
    # The stream after a block is the stream before the next one.
    sites = ["blocks.0.resid_post", "blocks.1.resid_pre"]
    after, before = tlab.capture(llama, _PROMPT, sites=sites).values()
    assert_close(after, before, atol=0, rtol=0)
    after.zero_()
    assert before.any()


def test_a_tensor_that_an_edit_returns_stays_as_it_was(tiny: Model) -> None:
    stream = tlab.capture(tiny, _PROMPT, sites=["blocks.1.resid_pre"])["blocks.1.resid_pre"]
    copy = stream.clone()
    _logits(tiny, edits=[Edit("blocks.1.resid_pre", lambda _: stream)])
    assert_close(stream, copy, atol=0, rtol=0)


def test_experiments_leave_parameters_and_modes_as_they_were(subject: Model) -> None:
    before = _fingerprint(subject)
    tlab.predict(subject, _PROMPT)
    tlab.attention(subject, _PROMPT)
    tlab.logit_lens(subject, _PROMPT)
    tlab.ablate(subject, _PROMPT, "L1", method="resample", reference=_REFERENCE)
    assert _fingerprint(subject) == before
    assert not subject.hf.training
    assert not any(parameter.requires_grad for parameter in subject.hf.parameters())
    assert torch.is_grad_enabled()


def test_loading_again_returns_the_model_in_memory(llama: Model) -> None:
    assert tlab.load(llama.name) is llama
    assert tlab.load(llama.name, device="cpu") is llama
    assert tlab.load(llama.name, dtype=torch.float64) is not llama


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_every_experiment_runs_in_another_dtype(llama: Model, dtype: torch.dtype) -> None:
    other = tlab.load(llama.name, dtype=dtype)
    tolerance = {torch.float64: 1e-5, torch.bfloat16: 0.1}[dtype]
    assert tlab.predict(other, _PROMPT).probability == pytest.approx(
        tlab.predict(llama, _PROMPT).probability, abs=tolerance
    )
    assert tlab.attention(other, _PROMPT).pattern.isfinite().all()
    assert tlab.logit_lens(other, _PROMPT).to_frame()["probability"].between(0, 1).all()
    for method in _METHODS:
        assert tlab.ablate(other, _PROMPT, _TARGETS, method=method, reference=_REFERENCE).kl_nats > 0


@pytest.mark.parametrize(
    ("site", "n_run"),
    [("embed", 0), ("blocks.0.resid_pre", 1), ("blocks.1.attn.z", 2), ("blocks.1.resid_post", 2), ("ln_final.out", 3)],
)
def test_a_run_that_predicts_nothing_ends_behind_its_last_site(llama: Model, site: str, n_run: int) -> None:
    ids = llama.to_ids(_PROMPT)
    entered: list[int] = []
    expected = run(llama, ids, sites=[site]).captured[site]
    handles = [
        block.self_attn.register_forward_hook(lambda *_, layer=layer: entered.append(layer))
        for layer, block in enumerate(llama.hf.model.layers)
    ]
    try:
        captured = run(llama, ids, sites=[site], predicts=False).captured
    finally:
        for handle in handles:
            handle.remove()
    assert_close(captured[site], expected, atol=0, rtol=0)
    assert entered == list(range(n_run))
