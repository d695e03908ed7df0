"""What takes the place of an ablated output: zeros, a mean over reference prompts, or a random moment of them.

The first position is kept apart: in this family of models it serves as a sink for attention, its activations are many
times larger than all others, and a mean over it would be no mean of anything that later positions ever say.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

from tlab.engine import run
from tlab.errors import UnknownOption, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from tlab.models import Model

__all__ = ["METHODS", "replacements"]

METHODS = ("zero", "mean", "resample")


def replacements(
    model: Model, sites: Sequence[str], method: str, reference: Sequence[str], seed: int
) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return, for each site, a function from the tensor that stands there to what is to stand there instead.

    Shapes:
        each function: `batch pos …` to `batch pos …`

    Raises:
        UnknownOption: mean or resample without a reference prompt of at least two tokens.

    """
    if method == "zero" or not sites:
        return dict.fromkeys(sites, torch.zeros_like)
    prompts = (None,) if isinstance(reference, str) or not isinstance(reference, Iterable) else tuple(reference)
    if not all(isinstance(prompt, str) for prompt in prompts):
        raise UnknownOption(
            f"reference refused: expected a list of prompts, got {shown(reference)}; "
            f"leave it out to use tlab's own sentences"
        )
    first, later = _reference_values(model, tuple(sites), prompts)
    if method == "mean":
        return {site: _mean(first[site], later[site]) for site in sites}
    return {site: _resample(first[site], later[site], seed) for site in sites}


# A sweep asks for the same part's values again and again, and so do exercises; one entry is a few hundred kilobytes.
@functools.lru_cache(maxsize=64)
def _reference_values(
    model: Model, sites: tuple[str, ...], reference: tuple[str, ...]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    runs = [run(model, model.to_ids(prompt), sites=sites).captured for prompt in reference]
    if not any(captured[sites[0]].shape[1] > 1 for captured in runs):
        raise UnknownOption(
            "reference refused: expected at least one prompt of two tokens or more, got none; "
            "leave it out to use tlab's own sentences"
        )
    first = {site: torch.stack([captured[site][0, 0] for captured in runs]) for site in sites}
    later = {site: torch.cat([captured[site][0, 1:] for captured in runs]) for site in sites}
    return first, later


def _mean(first: Tensor, later: Tensor) -> Callable[[Tensor], Tensor]:
    def replace(tensor: Tensor) -> Tensor:
        result = later.mean(0).expand_as(tensor).clone()
        result[:, 0] = first.mean(0)
        return result

    return replace


def _resample(first: Tensor, later: Tensor, seed: int) -> Callable[[Tensor], Tensor]:
    def replace(tensor: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        result = torch.empty_like(tensor)
        result[:, 0] = first[int(torch.randint(len(first), (), generator=generator))]
        chosen = torch.randint(len(later), (tensor.shape[1] - 1,), generator=generator)
        result[:, 1:] = later[chosen.to(later.device)]
        return result

    return replace
