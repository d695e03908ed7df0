"""Gradients at the sites: against finite differences, and against torch's own way back through plain Hugging Face."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import oracle
import pytest
import torch
from torch.testing import assert_close

from tlab.engine import Edit, Inputs, run
from tlab.engine.branches import Branches
from tlab.engine.gradient import gradients, head_gradients, mlp_gradient
from tlab.errors import UnknownSite, UnusableEdit

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedModel

    from tlab import Model

_DOUBLE = torch.float64
# Step and tolerance. Some norms and softmaxes compute in single precision whatever they are given: a small step drowns.
_FINE, _COARSE = (1e-4, 1e-6), (3e-3, 1e-2)
_STEPS = {"gpt2": _FINE, "bert": _FINE, "mbart": _FINE, "phi": _COARSE, "starcoder2": _COARSE, "gpt-bigcode": _COARSE}
_THROUGH_HOOKS = ("gpt2", "gpt-neox", "llama-grouped", "qwen3", "gemma-2", "cohere", "opt", "mistral", "olmo-2", "bart")


def _measure(model: Model, seed: int = 1) -> Callable[[Tensor], Tensor]:
    weights = torch.randn(model.d_vocab, generator=torch.Generator().manual_seed(seed), dtype=model.dtype)

    def measure(logits: Tensor) -> Tensor:
        values: Tensor = (logits.tanh() @ weights).sum(-1)
        return values

    return measure


def _moved(by: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor + by


def _direction(tensor: Tensor) -> Tensor:
    """A random direction of length 1 in each row."""
    found = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(2), dtype=tensor.dtype)
    return found / found.flatten(1).norm(dim=1).view(-1, *[1] * (tensor.dim() - 1))


@pytest.mark.parametrize("name", _STEPS)
def test_a_gradient_is_what_a_small_step_at_the_site_changes(
    name: str, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected(name, _DOUBLE), prompted(name, n_pos=8)
    measure, (step, tolerance) = _measure(model), _STEPS[name]
    steps = ("resid_pre", "attn.q", "attn.rot_k", "attn.v", "attn.pattern", "attn.z", "mlp.pre", "mlp.out")
    sites = [site for one in steps if (site := f"blocks.1.{one}") in model.sites]
    sites += [site for site in ("embed", "ln_final.out", "encoder.blocks.0.resid_pre") if site in model.sites]
    values, captured, slopes = gradients(model, inputs, sites, measure)
    for site in sites:
        direction = _direction(captured[site])
        ends = [
            measure(run(model, inputs, edits=[Edit(site, _moved(sign * step * direction))]).logits) for sign in (1, -1)
        ]
        found = (slopes[site] * direction).flatten(1).sum(1)
        # The embedding of an encoder-decoder is passed twice, and the step is taken both times.
        if not (site == "embed" and model.family == "encoder-decoder"):
            expected = (ends[0] - ends[1]) / (2 * step)
            assert_close(found, expected, rtol=tolerance, atol=tolerance)
        assert float(found.abs().min()) > 0.0
    assert_close(values, measure(run(model, inputs).logits))


@pytest.mark.parametrize("name", _THROUGH_HOOKS)
def test_gradients_equal_torchs_own_through_plain_hugging_face(
    name: str,
    dissected: Callable[..., Model],
    untouched: Callable[..., PreTrainedModel],
    prompted: Callable[..., Inputs],
) -> None:
    model, hf, inputs = dissected(name), untouched(name), prompted(name, n_pos=8)
    measure, where, seen = _measure(model), oracle.paths(name), {}
    projection = where.attn_proj or where.attn

    def before(site: str) -> Callable[..., None]:
        def hook(_module: Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
            seen[site] = arguments[0] if arguments else options["hidden_states"]

        return hook

    def after(site: str) -> Callable[..., None]:
        def hook(_module: Module, _arguments: object, output: Any) -> None:  # noqa: ANN401  a module's own
            seen[site] = output[0] if isinstance(output, tuple) else output

        return hook

    with ExitStack() as stack:
        for layer in range(2):
            block, z = (oracle.module_at(hf, name, layer, path) for path in ("", projection))
            mlp = oracle.module_at(hf, name, layer, where.mlp)
            for handle in (
                block.register_forward_pre_hook(before(f"blocks.{layer}.resid_pre"), with_kwargs=True),
                z.register_forward_pre_hook(before(f"blocks.{layer}.attn.z"), with_kwargs=True),
                mlp.register_forward_hook(after(f"blocks.{layer}.mlp.out")),
            ):
                stack.callback(handle.remove)
        options = {} if inputs.source is None else {"decoder_input_ids": inputs.ids}
        total = measure(hf(inputs.ids if inputs.source is None else inputs.source, **options).logits).sum()
    expected = dict(zip(seen, torch.autograd.grad(total, list(seen.values())), strict=True))
    _, captured, slopes = gradients(model, inputs, seen, measure)
    for site, tensor in seen.items():
        assert_close(captured[site].reshape(tensor.shape), tensor.detach(), rtol=1e-4, atol=1e-5)
        largest = float(expected[site].abs().max())
        assert_close(slopes[site].reshape(tensor.shape), expected[site], rtol=1e-3, atol=1e-4 * largest)


def test_every_kind_of_site_has_a_gradient_in_every_architecture(
    specimen: str, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected(specimen), prompted(specimen, n_pos=8)
    sites = [site for site in model.sites if not site.startswith("blocks.") or site.startswith("blocks.1.")]
    values, captured, slopes = gradients(model, inputs, sites, _measure(model))
    plain = run(model, inputs, sites=sites)
    assert_close(values, _measure(model)(plain.logits))
    for site in sites:
        assert_close(captured[site], plain.captured[site], rtol=1e-4, atol=1e-4)
        assert slopes[site].shape == captured[site].shape
        assert float(slopes[site].abs().max()) > 0.0
        assert not slopes[site].requires_grad
        assert not captured[site].requires_grad


@pytest.mark.parametrize("name", ["llama-grouped", "phi", "gemma-2", "gpt-bigcode", "deepseek-v3", "granite", "mpt"])
def test_the_shares_of_queries_keys_values_and_mlp_add_up_to_the_streams_gradient(
    name: str, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected(name), prompted(name, n_pos=8)
    branches = Branches(model, inputs.ids[0])
    steps = ("resid_pre", "resid_mid", "attn.z", "mlp.out", "resid_post")
    sites = [
        site for layer in range(model.n_layers) for step in steps if (site := f"blocks.{layer}.{step}") in model.sites
    ]
    _, seen, slopes = gradients(model, inputs, sites, _measure(model))
    for layer in range(model.n_layers):
        prefix = f"blocks.{layer}"
        heads = head_gradients(branches, layer, seen[f"{prefix}.resid_pre"], slopes[f"{prefix}.attn.z"])
        assert heads.shape == (3, model.n_heads, *seen[f"{prefix}.resid_pre"].shape)
        read = seen.get(f"{prefix}.resid_mid", seen[f"{prefix}.resid_pre"])
        mlp = mlp_gradient(branches, layer, read, slopes[f"{prefix}.mlp.out"])
        found = slopes[f"{prefix}.resid_post"] + heads.sum((0, 1)) + mlp
        assert_close(found, slopes[f"{prefix}.resid_pre"], rtol=1e-3, atol=1e-4)


def test_parts_run_apart_give_what_they_give_in_a_plain_run(
    specimen: str, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected(specimen), prompted(specimen, n_pos=8)
    if model.family == "encoder-decoder":
        with pytest.raises(ValueError, match="source"):
            Branches(model, inputs.ids[0])
        return
    steps = ("resid_pre", "resid_mid", "attn.z", "attn.out", "mlp.out")
    sites = [
        site for layer in range(model.n_layers) for step in steps if (site := f"blocks.{layer}.{step}") in model.sites
    ]
    seen, branches = run(model, inputs, sites=sites).captured, Branches(model, inputs.ids[0])
    for layer in range(model.n_layers):
        stream = seen[f"blocks.{layer}.resid_pre"]
        z = branches.attend(layer, *branches.read(layer, stream))
        assert_close(z, seen[f"blocks.{layer}.attn.z"], rtol=1e-4, atol=1e-5)
        assert_close(branches.write(layer, z), seen[f"blocks.{layer}.attn.out"], rtol=1e-4, atol=1e-5)
        written = branches.think(layer, seen.get(f"blocks.{layer}.resid_mid", stream))
        assert_close(written, seen[f"blocks.{layer}.mlp.out"], rtol=1e-4, atol=1e-5)


def test_the_way_back_holds_the_graph_of_one_block_at_a_time(
    dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected("gemma-2"), prompted("gemma-2")
    measure = _measure(model)

    class Held:
        now = most = 0

    class Saved:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor
            Held.now += tensor.numel()
            Held.most = max(Held.most, Held.now)

        def __del__(self) -> None:
            Held.now -= self.tensor.numel()

    with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
        whole = run(model, inputs, sites=["blocks.0.resid_pre"], is_live=True)
        (expected,) = torch.autograd.grad(measure(whole.logits).sum(), whole.captured["blocks.0.resid_pre"])
        del whole
        most, Held.most, Held.now = Held.most, 0, 0
        _, _, slopes = gradients(model, inputs, ["blocks.0.resid_pre"], measure)
    assert_close(slopes["blocks.0.resid_pre"], expected, rtol=1e-4, atol=1e-5)
    assert Held.most < most / 2


def test_an_edited_run_has_the_edited_runs_gradient(
    dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected("gpt2", _DOUBLE), prompted("gpt2")
    measure = _measure(model)
    double = Edit("blocks.1.attn.z", lambda z: 2 * z, heads=(0, 2), positions=(1, 5))
    _, captured, slopes = gradients(model, inputs, ["blocks.0.resid_post"], measure, edits=[double])
    direction, step = _direction(captured["blocks.0.resid_post"]), 1e-4
    ends = [
        measure(run(model, inputs, edits=[double, Edit("blocks.0.resid_post", _moved(way * direction))]).logits)
        for way in (step, -step)
    ]
    found = (slopes["blocks.0.resid_post"] * direction).flatten(1).sum(1)
    assert_close(found, (ends[0] - ends[1]) / (2 * step), rtol=1e-6, atol=1e-6)


def test_what_comes_after_the_reading_has_no_gradient(
    dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected("llama-grouped"), prompted("llama-grouped")
    sites = ["blocks.1.resid_pre", "blocks.2.attn.z"]
    _, _, slopes = gradients(model, inputs, sites, _measure(model), read=(3,))
    for site in sites:
        assert float(slopes[site][:, 4:].abs().max()) == 0.0
    assert float(slopes["blocks.2.attn.z"][:, :3].abs().max()) == 0.0
    assert float(slopes["blocks.1.resid_pre"][:, :4].abs().amax((0, 2)).min()) > 0.0


def test_gradients_leave_no_hook_and_no_gradient_behind(
    dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected("llama-grouped"), prompted("llama-grouped")
    # Hugging Face leaves hooks of its own where somebody once asked it for hidden states.
    n_hooks = sum(len(module._forward_hooks) for module in model.hf.modules())
    with torch.no_grad():
        gradients(model, inputs, ["embed", "blocks.1.attn.q"], _measure(model))
        assert not torch.is_grad_enabled()
    with pytest.raises(ZeroDivisionError):
        gradients(model, inputs, ["embed", "blocks.1.attn.q"], lambda _: 1 / 0)  # type: ignore[arg-type,return-value]
    assert sum(len(module._forward_hooks) for module in model.hf.modules()) == n_hooks
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.hf.parameters())


def test_gradients_refuse_unknown_sites_and_edits_of_another_shape(
    dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected("llama-grouped"), prompted("llama-grouped")
    with pytest.raises(UnknownSite, match="site unknown"):
        gradients(model, inputs, ["blocks.1.attention"], _measure(model))
    with pytest.raises(UnusableEdit, match="edit refused"):
        gradients(model, inputs, [], _measure(model), edits=[Edit("blocks.1.resid_pre", lambda x: x[:, :1])])
