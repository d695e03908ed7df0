"""Two runs at once, in two threads or one inside the other, do not see each other."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.testing import assert_close

import tlab
from tlab.engine import Edit, Sweep, Variant, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from tlab import Model
    from tlab.engine import Inputs

_NAMES = ("gpt2", "llama-grouped", "gpt-neox", "bloom", "gpt-j", "phi-3", "gemma-2", "bert", "t5", "bart")
# Every way in which the engine reaches into a model: hooks on modules, the attention function, the blocks themselves.
_STEPS = ("embed", "blocks.1.attn.q", "blocks.1.attn.pattern", "blocks.1.mlp.out")


def _sites(model: Model) -> list[str]:
    return [site for site in _STEPS if site in model.sites]


def _tilted(tensor: Tensor) -> Tensor:
    return tensor * torch.linspace(0.2, 1.0, tensor.shape[-1]) + 0.1


def _edits(model: Model) -> list[Edit]:
    return [Edit(site, _tilted) for site in _sites(model)]


def _in_another_thread(function: Callable[[], Any]) -> Any:  # noqa: ANN401  whatever it returns
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(timeout=60)


def _while_edited(model: Model, inputs: Inputs, function: Callable[[], Any]) -> tuple[Tensor, list[Any]]:
    """Run with edits everywhere; at the last of them, in mid-run, call a function in another thread."""
    seen: list[Any] = []

    def pause(tensor: Tensor) -> Tensor:
        seen.append(_in_another_thread(function))
        return tensor

    edits = [*_edits(model), Edit(f"blocks.{model.n_layers - 1}.resid_post", pause)]
    return run(model, inputs, edits=edits).logits, seen


@pytest.mark.parametrize("name", _NAMES)
def test_a_run_in_another_thread_sees_no_edit_of_this_one(
    name: str, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected(name), prompted(name)
    sites = _sites(model)
    clean, edited = run(model, inputs, sites=sites), run(model, inputs, edits=_edits(model)).logits
    found, (other,) = _while_edited(model, inputs, lambda: run(model, inputs, sites=sites))
    assert_close(other.logits, clean.logits, rtol=0, atol=0)
    for site in sites:
        assert_close(other.captured[site], clean.captured[site], rtol=0, atol=0)
    assert_close(found, edited, rtol=0, atol=0)
    assert not torch.equal(edited, clean.logits)


@pytest.mark.parametrize("name", _NAMES)
def test_hugging_faces_model_in_another_thread_sees_no_edit(
    name: str, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected(name), prompted(name)
    given = {"input_ids": inputs.ids}
    if inputs.source is not None:
        given = {"input_ids": inputs.source, "decoder_input_ids": inputs.ids}

    def plain() -> Tensor:
        with torch.no_grad():
            logits: Tensor = model.hf(**given).logits
        return logits

    clean = plain()
    _, (other,) = _while_edited(model, inputs, plain)
    assert_close(other, clean, rtol=0, atol=0)


@pytest.mark.parametrize("name", _NAMES)
def test_a_run_in_another_thread_may_edit_what_this_one_captures(
    name: str, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected(name), prompted(name)
    sites = _sites(model)
    clean = run(model, inputs, sites=sites)

    def disturb(tensor: Tensor) -> Tensor:
        _in_another_thread(lambda: run(model, inputs, edits=_edits(model)))
        return tensor

    found = run(model, inputs, sites=sites, edits=[Edit("blocks.0.resid_pre", disturb)])
    assert_close(found.logits, clean.logits, rtol=0, atol=0)
    for site in sites:
        assert_close(found.captured[site], clean.captured[site], rtol=0, atol=0)


@pytest.mark.parametrize("name", _NAMES)
def test_a_run_inside_an_edit_sees_no_edit_of_the_outer_one(
    name: str, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected(name), prompted(name)
    sites = _sites(model)
    clean, edited = run(model, inputs, sites=sites), run(model, inputs, edits=_edits(model)).logits
    inner = []

    def nest(tensor: Tensor) -> Tensor:
        inner.append(run(model, inputs, sites=sites))
        return tensor

    for site in ("blocks.0.resid_pre", "blocks.1.attn.z", f"blocks.{model.n_layers - 1}.resid_post"):
        found = run(model, inputs, edits=[*_edits(model), Edit(site, nest)]).logits
        assert_close(found, edited, rtol=0, atol=0)
        nested = inner.pop()
        assert_close(nested.logits, clean.logits, rtol=0, atol=0)
        for one in sites:
            assert_close(nested.captured[one], clean.captured[one], rtol=0, atol=0)


def test_an_exception_in_one_thread_leaves_the_other_as_it_was(
    dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected("llama-grouped"), prompted("llama-grouped")
    edited = run(model, inputs, edits=_edits(model)).logits

    def fail(_: Tensor) -> Tensor:
        raise LookupError("on purpose")

    def broken() -> str:
        with pytest.raises(LookupError, match="on purpose"):
            run(model, inputs, edits=[*_edits(model), Edit("blocks.2.mlp.out", fail)])
        return "failed"

    found, seen = _while_edited(model, inputs, broken)
    assert seen == ["failed"]
    assert_close(found, edited, rtol=0, atol=0)


def test_gradients_in_one_thread_do_not_turn_them_on_in_another(
    dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected("llama-grouped"), prompted("llama-grouped")

    def look(tensor: Tensor) -> Tensor:
        assert torch.is_grad_enabled()
        other = _in_another_thread(lambda: run(model, inputs).logits)
        assert not other.requires_grad
        assert torch.is_grad_enabled()
        return tensor

    live = run(model, inputs, sites=["blocks.0.resid_pre"], edits=[Edit("blocks.1.mlp.out", look)], is_live=True)
    assert live.logits.requires_grad


def test_many_threads_give_what_one_gives(dissected: Callable[..., Model], prompted: Callable[..., Inputs]) -> None:
    model = dissected("gemma-2")
    inputs = [prompted("gemma-2", n_rows=1, seed=seed) for seed in range(8)]
    jobs: list[Callable[[], Tensor]] = []
    for index, one in enumerate(inputs):
        edits = [_edits(model)[index % 4]] if index % 2 else []
        jobs.append(lambda one=one, edits=edits: run(model, one, edits=edits).logits[0])
        variants = [Variant((Edit("blocks.2.attn.z", torch.zeros_like, heads=(index % 4,), positions=(index,)),))]
        jobs.append(lambda one=one, v=variants: next(Sweep(model, one, v).run(lambda logits: logits))[1][0])
    expected = [job() for job in jobs]
    barrier = threading.Barrier(4)

    def meet(job: Callable[[], Tensor]) -> Tensor:
        barrier.wait(timeout=60)
        return job()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(meet, jobs, timeout=60))
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other, rtol=0, atol=0)


def test_experiments_in_two_threads_say_what_they_say_alone(llama: Model) -> None:
    prompts = ["The cat", "A dog ran", "One two three", "x"] * 2
    expected = [tlab.ablate(llama, prompt, "L1").explain() for prompt in prompts]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda prompt: tlab.ablate(llama, prompt, "L1").explain(), prompts, timeout=60))
    assert found == expected
