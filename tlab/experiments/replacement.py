"""What takes the place of an ablated output: zeros, a mean over reference prompts, or a random moment of them.

The first position is kept apart: in many models it serves as a sink for attention, its activations are many times
larger than all others, and a mean over it would be no mean of anything that later positions ever say.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

from tlab.engine import Edit, run
from tlab.errors import UnknownOption, shown
from tlab.experiments.prompts import batch_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from tlab.models import Model
    from tlab.targets import Target

__all__ = ["METHODS", "ablations", "replacements"]

METHODS = ("zero", "mean", "resample")


def replacements(
    model: Model, sites: Sequence[str], n_pos: int, *, method: str, reference: Sequence[str], seed: int
) -> dict[str, Tensor]:
    """Return, for each site, what is to stand there instead, for a prompt of `n_pos` tokens.

    Shapes:
        each value: `pos …`, the site's axes without `batch`; for zeros a single number

    Raises:
        UnknownOption: the method is none of the three; mean or resample without a reference prompt of two tokens.

    """
    if method not in METHODS:
        raise UnknownOption(f"method refused: expected one of {', '.join(METHODS)}, got {shown(method)}; try 'zero'")
    if method == "zero" or not sites:
        return {site: torch.zeros((), dtype=model.dtype, device=model.device) for site in sites}
    prompts = (None,) if isinstance(reference, str) or not isinstance(reference, Iterable) else tuple(reference)
    if not all(isinstance(prompt, str) for prompt in prompts):
        raise UnknownOption(
            f"reference refused: expected a list of prompts, got {shown(reference)}; "
            f"leave it out to use tlab's own sentences"
        )
    kinds = tuple(sorted({site.split(".", 2)[2] for site in sites}))
    first, later = _reference_values(model, kinds, prompts)
    if n_pos > 1 and len(later[sites[0]]) == 0:
        raise UnknownOption(
            "reference refused: expected at least one prompt of two tokens or more, got none; "
            "leave it out to use tlab's own sentences"
        )
    values = _mean if method == "mean" else functools.partial(_resample, seed=seed)
    return {site: values(first[site], later[site], n_pos) for site in sites}


def ablations(targets: Iterable[Target], values: Mapping[str, Tensor]) -> tuple[Edit, ...]:
    """Return the edits that put `replacements` in the place of the targets' outputs."""
    return tuple(
        Edit(site, _put(values[site], target.heads), heads=target.heads) for target in targets for site in target.sites
    )


class _put:  # noqa: N801  a function with a tensor of its own
    """Replace whatever comes by a fixed value, cut down to some heads."""

    def __init__(self, value: Tensor, heads: tuple[int, ...] | None) -> None:
        self._value = value if heads is None or value.dim() == 0 else value[:, list(heads)]

    def __call__(self, tensor: Tensor) -> Tensor:
        return self._value.to(tensor.dtype).expand_as(tensor).clone()


# Who asks for one part's values asks for another part's next: one run gives those of all layers. An entry is some ten
# megabytes for a small model.
@functools.lru_cache(maxsize=8)
def _reference_values(
    model: Model, kinds: tuple[str, ...], reference: tuple[str, ...]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    inputs, _ = batch_of(model, reference, cut=True)
    known = set(model.sites)
    every = [f"blocks.{layer}.{kind}" for layer in range(model.n_layers) for kind in kinds]
    sites = [site for site in every if site in known]
    captured = run(model, inputs, sites=sites, predicts=False).captured
    is_later = torch.ones_like(inputs.ids, dtype=torch.bool) if inputs.mask is None else inputs.mask.bool()
    is_later[:, 0] = False
    first = {site: captured[site][:, 0] for site in sites}
    later = {site: captured[site][is_later] for site in sites}
    return first, later


def _mean(first: Tensor, later: Tensor, n_pos: int) -> Tensor:
    if n_pos == 1:
        return first.mean(0, keepdim=True)
    rest = later.mean(0, keepdim=True).expand(n_pos - 1, *later.shape[1:])
    return torch.cat([first.mean(0, keepdim=True), rest])


def _resample(first: Tensor, later: Tensor, n_pos: int, *, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    begins = first[int(torch.randint(len(first), (), generator=generator))]
    if n_pos == 1:
        return begins[None]
    chosen = torch.randint(len(later), (n_pos - 1,), generator=generator)
    return torch.cat([begins[None], later[chosen.to(later.device)]])
