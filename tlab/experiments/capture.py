"""`capture`: read what stands at named sites while a prompt passes through the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch

from tlab.engine import run
from tlab.results import Result
from tlab.sites import axes_of

if TYPE_CHECKING:
    from torch import Tensor

    from tlab.models import Model

__all__ = ["Capture", "capture"]


@dataclass(frozen=True, eq=False, repr=False)
class Capture(Result, Mapping[str, "Tensor"]):
    """A read-only mapping from site to a copy of the tensor that stood there.

    Args:
        tokens: the prompt, token by token.
        tensors: site → tensor; the first axis is always `batch` (here of length 1).

    """

    tokens: tuple[str, ...]
    tensors: Mapping[str, Tensor]

    def __getitem__(self, site: str) -> Tensor:
        return self.tensors[site]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def axes(self, site: str) -> tuple[str, ...]:
        """Return the names of the tensor's axes, e.g. `("batch", "head", "dest_pos", "src_pos")`."""
        return axes_of(site)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a site: its axes, shape, and the mean length of its vectors along the last axis.

        Masked attention scores, the smallest number that there is, count as 0 in the length.
        """
        return pd.DataFrame(
            {
                "site": site,
                "axes": " ".join(axes_of(site)),
                "shape": "×".join(str(size) for size in tensor.shape),
                "mean_norm": round(_mean_norm(tensor), 3),
            }
            for site, tensor in self.tensors.items()
        )

    def explain(self) -> str:
        """Say how much was captured."""
        n_values = sum(tensor.numel() for tensor in self.tensors.values())
        return (
            f"{len(self)} sites captured for {len(self.tokens)} tokens: "
            f"{n_values:,} numbers, copies of the model's own."
        )


def _mean_norm(tensor: Tensor) -> float:
    smallest = torch.finfo(tensor.dtype).min
    return float(tensor.masked_fill(tensor <= smallest, 0).float().norm(dim=-1).mean())


def capture(model: Model, prompt: str, *, sites: Iterable[str] | None = None) -> Capture:
    """Run the model and keep what stands at the named sites.

    Args:
        model: from `load`.
        prompt: the text to run.
        sites: names such as `"blocks.3.attn.pattern"`; by default the residual stream after every block.

    Invariants:
        The tensors are copies: changing one changes nothing in the model.

    Raises:
        UnknownSite: a name is none of the model's sites.

    Cost: one forward pass.

    Source:
        TransformerLens' `run_with_cache`; our `blocks.3.attn.pattern` is its `blocks.3.attn.hook_pattern`.

    """
    if isinstance(sites, str):
        sites = (sites,)
    if sites is not None and not isinstance(sites, Iterable):
        axes_of(sites)  # says what a site is
    wanted = tuple(sites) if sites is not None else tuple(f"blocks.{i}.resid_post" for i in range(model.n_layers))
    captured = run(model, model.to_ids(prompt), sites=wanted).captured
    return Capture(tokens=tuple(model.to_tokens(prompt)), tensors={site: captured[site] for site in wanted})
