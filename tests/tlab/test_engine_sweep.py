"""A sweep gives what its runs give one by one, whatever it shares between them, leaves out, or puts into one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from tlab.engine import Edit, Inputs, Sweep, Variant, run
from tlab.errors import UnknownSite, UnusableEdit
from tlab.sites import axes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from tlab import Model

_ATOL = 1e-5
_N_POS = 10
_AMPLE = 10**9
# One for each way in which a pass may differ: positions, masks, wiring, norms, shared keys, experts, stacks.
_NAMES = (
    "gpt2",
    "gpt-neo",
    "opt-post-norm",
    "bloom",
    "bloom-residual-after-norm",
    "mpt",
    "gpt-j",
    "gpt-neox",
    "falcon",
    "falcon-alibi",
    "cohere2",
    "llama-grouped",
    "mistral",
    "olmo-2",
    "gemma-2",
    "mixtral",
    "gpt-oss",
    "deepseek-v3",
    "bert",
    "modernbert",
    "t5-gated",
    "umt5",
    "bart",
)


def _tilted(tensor: Tensor) -> Tensor:
    return tensor * torch.linspace(0.2, 1.0, tensor.shape[-1]) + 0.1


def _one_by_one(model: Model, inputs: Inputs, variants: Sequence[Variant], read: Sequence[int]) -> Tensor:
    return torch.cat([run(model, inputs, edits=one.edits).logits[:, list(read)] for one in variants])


def _swept(model: Model, inputs: Inputs, variants: Sequence[Variant], **options: Any) -> Tensor:  # noqa: ANN401  passed on
    found: dict[int, Tensor] = {}
    for members, logits in Sweep(model, inputs, variants, **options).run(lambda logits: logits):
        assert len(members) == len(logits)
        assert not set(members) & set(found)
        found |= dict(zip(members, logits, strict=True))
    assert set(found) == set(range(len(variants)))
    return torch.stack([found[index] for index in range(len(variants))])


def _kinds(model: Model) -> list[str]:
    """Return every site that a sweep may edit: those of the second block, and those behind all blocks."""
    last = f"blocks.{model.n_layers - 1}.resid_post"
    return [site for site in model.sites if site.startswith("blocks.1.") or site in {last, "ln_final.out", "logits"}]


def _selections(site: str) -> list[dict[str, tuple[int, ...]]]:
    """Return edits of all, of one position, of several that are no run, and of a head."""
    axes = axes_of(site)
    is_cross_source = ".cross_attn." in site and site.endswith((".k", ".v"))
    found: list[dict[str, tuple[int, ...]]] = [{}]
    if not is_cross_source:  # its positions are the source's
        found += [{"positions": (3,)}, {"positions": (2, 5)}]
    if "head" in axes:
        found += [{"heads": (1,)}, {"heads": (0, 3), "positions": (1, 4)}]
    if "kv_head" in axes:
        found += [{"heads": (0,)}]
    return found


@pytest.mark.parametrize("name", _NAMES)
def test_a_sweep_over_every_kind_of_site_equals_its_runs(
    name: str, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected(name), prompted(name, n_rows=1, n_pos=_N_POS)
    edits = [Edit(site, _tilted, **chosen) for site in _kinds(model) for chosen in _selections(site)]
    if not _can_edit_late_logits(model):
        edits = [edit for edit in edits if edit.site not in {"ln_final.out", "logits"}]
    variants = [Variant((edit,)) for edit in edits]
    read = range(inputs.ids.shape[1])
    expected = _one_by_one(model, inputs, variants, read)
    found = _swept(model, inputs, variants, read=read)
    for index, edit in enumerate(edits):
        assert_close(found[index], expected[index], rtol=0, atol=_ATOL, msg=lambda text, e=edit: f"{e}: {text}")
    assert_close(_swept(model, inputs, variants, read=(-1,)), expected[:, -1:], rtol=0, atol=_ATOL)


def _can_edit_late_logits(model: Model) -> bool:
    return model.anatomy.decoder.final_norm is not None


def test_a_sweep_of_any_architecture_equals_its_runs(
    specimen: str, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected(specimen), prompted(specimen, n_rows=1, n_pos=_N_POS)
    last = model.n_layers - 1
    variants = [
        Variant(()),
        Variant((Edit("blocks.0.attn.z", torch.zeros_like, heads=(1,), positions=(4,)),)),
        Variant((Edit("blocks.0.resid_pre", _tilted, positions=(0,)),)),
        Variant((Edit("blocks.1.mlp.out", torch.zeros_like, positions=(2, 5)),)),
        Variant(
            (Edit("blocks.1.attn.pattern", _tilted, heads=(2,)), Edit("blocks.0.attn.out", _tilted, positions=(3,)))
        ),
        Variant((Edit(f"blocks.{last}.attn.v", _tilted, positions=(1,)),)),
        Variant((Edit(f"blocks.{last}.resid_post", _tilted, positions=(inputs.ids.shape[1] - 1,)),)),
    ]
    for read in ((-1,), (0, 3, -1)):
        expected = _one_by_one(model, inputs, variants, read)
        assert_close(_swept(model, inputs, variants, read=read), expected, rtol=0, atol=_ATOL)


@pytest.mark.parametrize("name", ["llama-grouped", "gpt2", "bert", "t5-gated", "bart"])
@pytest.mark.parametrize("budget_bytes", [1, 20_000, 60_000, _AMPLE])
def test_a_smaller_budget_changes_the_passes_and_not_what_they_say(
    name: str, budget_bytes: int, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected(name), prompted(name, n_rows=1, n_pos=_N_POS)
    positions = range(inputs.ids.shape[1])
    variants = [
        Variant((Edit(f"blocks.{layer}.resid_pre", torch.zeros_like, positions=(position,)),))
        for layer in range(model.n_layers)
        for position in positions
    ]
    expected = _one_by_one(model, inputs, variants, (-1,))
    assert_close(_swept(model, inputs, variants, budget_bytes=budget_bytes), expected, rtol=0, atol=_ATOL)
    passes = [
        len(members)
        for members, _ in Sweep(model, inputs, variants, budget_bytes=budget_bytes).run(lambda logits: logits)
    ]
    assert sum(passes) == len(variants)
    if budget_bytes == 1:
        assert set(passes) == {1}
    if budget_bytes == _AMPLE:
        assert max(passes) > 1


_sizes = st.tuples(st.integers(0, 2), st.integers(0, _N_POS - 1), st.integers(0, 3))


@settings(derandomize=True, deadline=None, max_examples=40, database=None)
@given(
    st.lists(st.lists(_sizes, max_size=3), min_size=1, max_size=6),
    st.sets(st.integers(-_N_POS, _N_POS - 1), min_size=1),
)
def test_any_mixture_of_variants_equals_its_runs(
    dissected: Callable[..., Model],
    prompted: Callable[..., Inputs],
    chosen: list[list[tuple[int, int, int]]],
    read: set[int],
) -> None:
    model, inputs = dissected("gemma-2"), prompted("gemma-2", n_rows=1, n_pos=_N_POS)
    variants = [
        Variant(
            tuple(
                Edit(f"blocks.{layer}.attn.z", _tilted, heads=(head,), positions=(position,))
                for layer, position, head in edits
            )
        )
        for edits in chosen
    ]
    expected = _one_by_one(model, inputs, variants, sorted(read))
    assert_close(_swept(model, inputs, variants, read=sorted(read)), expected, rtol=0, atol=_ATOL)


def test_edits_of_one_variant_are_applied_in_their_order(
    dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected("gpt2"), prompted("gpt2", n_rows=1)
    plus, times = (Edit("blocks.1.mlp.out", function) for function in (lambda x: x + 1, lambda x: x * 2))
    found = _swept(model, inputs, [Variant((plus, times)), Variant((times, plus))])
    expected = _one_by_one(model, inputs, [Variant((plus, times)), Variant((times, plus))], (-1,))
    assert_close(found, expected, rtol=0, atol=_ATOL)
    assert not torch.equal(found[0], found[1])


def test_the_base_is_the_plain_run_at_the_read_positions(
    specimen: str, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected(specimen), prompted(specimen, n_rows=1)
    plain = run(model, inputs).logits[0]
    assert_close(Sweep(model, inputs, [], read=(0, -1)).base_logits, plain[[0, -1]], rtol=0, atol=_ATOL)


def test_a_sweep_of_nothing_makes_no_pass(dissected: Callable[..., Model], prompted: Callable[..., Inputs]) -> None:
    runs = Sweep(dissected("gpt2"), prompted("gpt2", n_rows=1), [])
    assert list(runs.run(lambda logits: logits)) == []
    assert runs.work == runs.estimated_s == 0


def test_the_work_is_what_an_edit_can_change(dissected: Callable[..., Model], prompted: Callable[..., Inputs]) -> None:
    inputs = prompted("gpt2", n_rows=1, n_pos=_N_POS)
    late = Variant((Edit("blocks.2.attn.z", torch.zeros_like, positions=(7,)),))
    early = Variant((Edit("blocks.0.attn.z", torch.zeros_like),))
    gpt2, bert = (dissected(name) for name in ("gpt2", "bert"))
    assert Sweep(gpt2, inputs, [late]).work == pytest.approx(3 / _N_POS / 3)
    assert Sweep(gpt2, inputs, [early]).work == pytest.approx(1)
    assert Sweep(gpt2, inputs, [early, late, late]).work == pytest.approx(1 + 2 * 3 / _N_POS / 3)
    # Every position of an encoder reads every other one.
    assert Sweep(bert, inputs, [late]).work == pytest.approx(1 / 3)
    assert Sweep(gpt2, inputs, [late]).estimated_s > 0


def test_only_the_positions_that_can_change_are_computed(
    dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs, seen = dissected("gpt2"), prompted("gpt2", n_rows=1, n_pos=_N_POS), []

    def look(tensor: Tensor) -> Tensor:
        seen.append(tuple(tensor.shape))
        return tensor

    edits = (Edit("blocks.1.resid_pre", look, positions=(6,)), Edit("blocks.2.attn.pattern", look, positions=(6, 8)))
    _swept(model, inputs, [Variant(edits)])
    assert seen == [(1, 1, 32), (1, 4, 2, _N_POS)]


def test_a_site_that_the_model_does_not_have_is_refused_before_any_run(
    dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected("gpt2"), prompted("gpt2", n_rows=1)
    with pytest.raises(UnknownSite, match=r"got 'blocks\.0\.attn\.zz'; list them with model\.sites"):
        Sweep(model, inputs, [Variant((Edit("blocks.0.attn.zz", torch.zeros_like),))])


@pytest.mark.parametrize("site", ["embed", "encoder.blocks.1.mlp.out"])
def test_what_comes_before_the_decoders_blocks_cannot_be_swept(
    site: str, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    with pytest.raises(ValueError, match="a sweep edits the decoder's blocks only"):
        Sweep(dissected("bart"), prompted("bart", n_rows=1), [Variant((Edit(site, torch.zeros_like),))])


def test_an_edit_of_another_shape_is_refused_with_its_site(
    dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected("gpt2"), prompted("gpt2", n_rows=1)
    runs = Sweep(model, inputs, [Variant((Edit("blocks.1.attn.z", lambda tensor: tensor[:, :1], positions=(2, 3)),))])
    with pytest.raises(
        UnusableEdit, match=r"expected a tensor of shape \(1, 2, 4, 8\), got \(1, 1, 4, 8\) at blocks\.1"
    ):
        list(runs.run(lambda logits: logits))


def test_a_sweep_can_be_run_again_and_says_the_same(
    dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected("llama-grouped"), prompted("llama-grouped", n_rows=1)
    runs = Sweep(model, inputs, [Variant((Edit("blocks.1.attn.z", torch.zeros_like, heads=(h,)),)) for h in range(4)])
    first, second = ([logits for _, logits in runs.run(lambda logits: logits)] for _ in range(2))
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        assert_close(one, other, rtol=0, atol=0)


def test_an_edit_does_not_reach_the_other_rows_of_its_pass(
    specimen: str, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected(specimen), prompted(specimen, n_rows=1)
    sites = [site for site in _kinds(model) if _can_edit_late_logits(model) or site.startswith("blocks.")]
    # In the same pass, before and behind each edited row, one that is not.
    variants = [one for site in sites for one in (Variant((Edit(site, lambda x: x),)), Variant((Edit(site, _tilted),)))]
    found = _swept(model, inputs, variants, read=(-1,))
    clean = run(model, inputs).logits[:, -1:].expand(len(sites), -1, -1)
    assert_close(found[0::2], clean, rtol=0, atol=_ATOL)
