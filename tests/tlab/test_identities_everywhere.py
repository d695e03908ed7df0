"""The identities of a run, over every architecture of the zoo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import oracle
import pytest
import torch
import zoo
from torch.testing import assert_close

from tlab.engine import Edit, Inputs, Sweep, Variant, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from tlab import Model


# Well above rounding, well below what any part of a random model does.
_VISIBLE = 1e-4


def _hooks_in(model: Model) -> int:
    # Some may be Hugging Face's own, which it opens when it is first asked for hidden states, and keeps.
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks)
        for module in model.hf.modules()
    )


class _InterruptedByTest(Exception):
    pass


def _fail(tensor: Tensor) -> Tensor:
    raise _InterruptedByTest(tensor.shape)


# Over every architecture of the zoo. `dissected`, `untouched` and `prompted` take the specimen's name.


def _tilted(tensor: Tensor) -> Tensor:
    # Not the same factor everywhere, which a norm behind the site would undo, nor the same summand, which it might too.
    return tensor * torch.linspace(0.2, 1.0, tensor.shape[-1]) + 0.1


def _rounding(name: str) -> float:
    """Return what a copy may change: torch rounds an activation of the strided half of a product otherwise."""
    return 1e-5 if "fused-mlp" in zoo.SPECIMENS[name].traits else 0.0


def _outside(model: Model) -> list[str]:
    """Return the sites that a sweep cannot edit."""
    return [site for site in model.sites if site == "embed" or site.startswith("encoder.")]


def _each_alone(
    model: Model, inputs: Inputs, function: Callable[[str], Callable[[Tensor], Tensor]]
) -> dict[str, Tensor]:
    """Return the logits of one run for each site, in which that site alone is edited."""
    outside = _outside(model)
    inside = [site for site in model.sites if site not in outside]
    found = {site: run(model, inputs, edits=[Edit(site, function(site))]).logits[0] for site in outside}
    variants = [Variant((Edit(site, function(site)),)) for site in inside]
    runs = Sweep(model, inputs, variants, read=range(inputs.ids.shape[1]))
    for members, logits in runs.run(lambda logits: logits):
        found |= {inside[member]: one for member, one in zip(members, logits, strict=True)}
    return found


def test_an_edit_that_returns_what_it_got_changes_nothing_at_any_site_of_any_architecture(
    specimen: str, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected(specimen), prompted(specimen)
    clean = run(model, inputs).logits
    same = run(model, inputs, edits=[Edit(site, lambda tensor: tensor) for site in model.sites]).logits
    assert_close(same, clean, rtol=0, atol=_rounding(specimen))


def test_an_edit_at_any_site_of_any_architecture_changes_something(
    specimen: str, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected(specimen), prompted(specimen, n_rows=1)
    clean = run(model, inputs).logits[0]
    changes = {site: logits - clean for site, logits in _each_alone(model, inputs, lambda _: _tilted).items()}
    assert set(changes) == set(model.sites)
    assert [site for site, change in changes.items() if float(change.abs().max()) < _VISIBLE] == []


def test_putting_a_run_into_itself_at_any_site_reproduces_it(
    specimen: str, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected(specimen), prompted(specimen, n_rows=1)
    finished = run(model, inputs, sites=model.sites)
    clean = finished.logits[0]

    def put(site: str) -> Callable[[Tensor], Tensor]:
        return lambda _: finished.captured[site]

    together = run(model, inputs, edits=[Edit(site, put(site)) for site in model.sites])
    assert_close(together.logits[0], clean, rtol=0, atol=_rounding(specimen))
    for site, logits in _each_alone(model, inputs, put).items():
        assert_close(logits, clean, rtol=0, atol=1e-5, msg=lambda text, site=site: f"{site}: {text}")


def test_putting_another_run_in_at_the_first_stream_gives_the_other_run(
    specimen: str, dissected: Callable[..., Model], untouched: Callable[..., Any], prompted: Callable[..., Inputs]
) -> None:
    model, inputs, other = dissected(specimen), prompted(specimen), prompted(specimen, seed=1)
    has_two = other.source is not None
    sites = ["blocks.0.resid_pre", *(["encoder.blocks.0.resid_pre"] if has_two else [])]
    streams = run(model, other, sites=sites).captured
    edits = [Edit(site, lambda _, site=site: streams[site]) for site in sites]
    given = {"ids": other.source, "decoder_ids": other.ids} if has_two else {"ids": other.ids}
    expected = oracle.logits(untouched(specimen), **given)
    assert_close(run(model, inputs, edits=edits).logits, expected, rtol=0, atol=1e-4)


def test_what_is_captured_belongs_to_nobody_else(
    specimen: str, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected(specimen), prompted(specimen)
    finished = run(model, inputs, sites=model.sites)
    clean = finished.logits.clone()
    owned = {tensor.untyped_storage().data_ptr() for tensor in (*model.hf.parameters(), *model.hf.buffers())}
    storages = {tensor.untyped_storage().data_ptr() for tensor in finished.captured.values()}
    assert len(storages) == len(model.sites)
    assert not storages & (owned | {finished.logits.untyped_storage().data_ptr()})
    for tensor in finished.captured.values():
        tensor.fill_(float("nan"))
    assert_close(run(model, inputs).logits, clean, rtol=0, atol=0)


def test_no_hook_is_left_after_an_exception_at_any_kind_of_site(
    specimen: str, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected(specimen), prompted(specimen)
    clean, hooks = run(model, inputs).logits, _hooks_in(model)
    last = model.n_layers - 1
    failing = ["embed", f"blocks.{last}.attn.pattern", f"blocks.{last}.resid_post", "logits"]
    failing += [site for site in model.sites if site.endswith(("blocks.1.attn.q", "blocks.1.mlp.out", "cross_attn.z"))]
    for site in failing:
        with pytest.raises(_InterruptedByTest):
            run(model, inputs, sites=model.sites, edits=[Edit(site, _fail)])
        assert _hooks_in(model) == hooks, site
    assert torch.is_grad_enabled()
    assert_close(run(model, inputs).logits, clean, rtol=0, atol=0)


def test_no_hook_is_open_while_a_sweep_hands_out_its_results(
    specimen: str, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected(specimen), prompted(specimen, n_rows=1)
    clean, hooks = run(model, inputs).logits, _hooks_in(model)
    sites = [site for site in ("blocks.0.attn.q", "blocks.1.attn.q", "blocks.1.mlp.out") if site in model.sites]
    runs = Sweep(model, inputs, [Variant((Edit(site, torch.zeros_like),)) for site in sites], budget_bytes=1)
    passes = runs.run(lambda logits: logits)
    next(passes)
    assert _hooks_in(model) == hooks
    assert torch.is_grad_enabled()
    passes.close()
    assert _hooks_in(model) == hooks
    with pytest.raises(_InterruptedByTest):
        list(runs.run(_fail))
    assert _hooks_in(model) == hooks
    assert torch.is_grad_enabled()
    assert_close(run(model, inputs).logits, clean, rtol=0, atol=0)


def test_rows_of_a_batch_do_not_see_each_other(
    specimen: str, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model, inputs = dissected(specimen), prompted(specimen, n_rows=3)
    together = run(model, inputs, sites=model.sites)
    for row in range(3):
        source = None if inputs.source is None else inputs.source[row : row + 1]
        alone = run(model, Inputs(inputs.ids[row : row + 1], source=source), sites=model.sites)
        assert_close(together.logits[row], alone.logits[0], rtol=0, atol=1e-5)
        for site, tensor in alone.captured.items():
            assert_close(together.captured[site][row], tensor[0], rtol=1e-5, atol=1e-5)


_N_SHORT = 8


def _shortened(inputs: Inputs, *, pad: int) -> tuple[Inputs, Inputs]:
    """Return the inputs with the second row cut to eight tokens and filled up at its end, and that row alone."""
    whole = inputs.ids if inputs.source is None else inputs.source
    filled, mask = whole.clone(), torch.ones_like(whole)
    filled[1, _N_SHORT:] = pad
    mask[1, _N_SHORT:] = 0
    if inputs.source is None:
        return Inputs(filled, mask=mask), Inputs(whole[1:, :_N_SHORT])
    alone = Inputs(inputs.ids[1:], source=whole[1:, :_N_SHORT])
    return Inputs(inputs.ids, source=filled, source_mask=mask), alone


def test_a_row_that_is_filled_up_gives_what_it_gives_alone(
    specimen: str, dissected: Callable[..., Model], prompted: Callable[..., Inputs]
) -> None:
    model = dissected(specimen)
    pad = model.hf.config.pad_token_id
    padded, alone = _shortened(prompted(specimen), pad=0 if pad is None else pad)
    together, single = (run(model, inputs, sites=["blocks.1.resid_post"]) for inputs in (padded, alone))
    n_pos = alone.ids.shape[1]
    assert_close(together.logits[1, :n_pos], single.logits[0], rtol=0, atol=1e-5)
    streams = [finished.captured["blocks.1.resid_post"] for finished in (together, single)]
    assert_close(streams[0][1, :n_pos], streams[1][0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_mask_means_what_it_means_to_hugging_face(
    specimen: str,
    side: str,
    dissected: Callable[..., Model],
    untouched: Callable[..., Any],
    prompted: Callable[..., Inputs],
) -> None:
    model, hf, inputs = dissected(specimen), untouched(specimen), prompted(specimen)
    length = inputs.ids.shape[1] if inputs.source is None else inputs.source.shape[1]
    mask = torch.ones(2, length, dtype=torch.long)
    hidden = slice(0, 3) if side == "left" else slice(-3, None)
    mask[1, hidden] = 0
    kept = torch.ones_like(inputs.ids, dtype=torch.bool)
    if inputs.source is None:
        masked, given = Inputs(inputs.ids, mask=mask), {"input_ids": inputs.ids}
        kept[1, hidden] = False
    else:
        masked = Inputs(inputs.ids, source=inputs.source, source_mask=mask)
        given = {"input_ids": inputs.source, "decoder_input_ids": inputs.ids}
    with torch.no_grad():
        expected = hf(**given, attention_mask=mask).logits
    found = run(model, masked).logits
    assert_close(found[kept], expected[kept], rtol=0, atol=1e-4)
    assert float((found - run(model, inputs).logits)[kept].abs().max()) > _VISIBLE or side == "right"
