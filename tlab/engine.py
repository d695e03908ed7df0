"""Running a model: the only module that touches hooks and turns gradients off.

Captured tensors are copies; edits are applied in the forward pass and gone after it, also after an exception.
Refuses: meaning. What a run shows is for the experiments to say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tlab.errors import UnknownSite, shown
from tlab.sites import hook_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jaxtyping import Float, Int

    from tlab.models import Model

__all__ = ["Edit", "Run", "run", "unembed"]


@dataclass(frozen=True)
class Edit:
    """Replace what stands at a site while the model runs.

    Args:
        site: e.g. `"blocks.3.attn.z"`.
        function: takes a copy of the tensor at the site and returns its replacement, of the same shape.

    """

    site: str
    function: Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Run:
    """What one forward pass gave.

    Args:
        logits: the model's scores for the next token at every position.
        captured: site → copy of what stood there.

    """

    logits: Float[Tensor, "batch pos d_vocab"]
    captured: dict[str, Tensor] = field(default_factory=dict)


def run(model: Model, ids: Int[Tensor, " pos"], *, sites: Iterable[str] = (), edits: Sequence[Edit] = ()) -> Run:
    """Run `model` once on one prompt, with `edits` applied and `sites` captured.

    A site that is edited is captured as edited.

    Cost: one forward pass; memory grows with the captured sites only.

    Raises:
        UnknownSite: a site is none of this model's.

    """
    captured: dict[str, Tensor] = {}
    hooks: list[tuple[str, Any]] = [(_hook_at(model, edit.site), _editing(edit)) for edit in edits]
    hooks += [(_hook_at(model, site), _capturing(site, captured)) for site in dict.fromkeys(sites)]
    with torch.no_grad(), model.bridge.hooks(fwd_hooks=hooks):
        logits = model.bridge(ids[None], prepend_bos=False)
    return Run(logits=logits, captured=captured)


def unembed(model: Model, stream: Float[Tensor, "pos d_model"]) -> Float[Tensor, "pos d_vocab"]:
    """Read a residual stream as the model reads its last one: final norm, then unembedding."""
    with torch.no_grad():
        logits: Tensor = model.bridge.unembed(model.bridge.ln_final(stream[None]))
    return logits[0]


def _hook_at(model: Model, site: str) -> str:
    name = hook_name(site, model.n_layers)
    if name not in model.bridge.hook_dict:
        raise UnknownSite(
            f"site unknown: expected a place that this model has, got {shown(site)}; list them with model.sites"
        )
    return name


def _editing(edit: Edit) -> Callable[..., Tensor]:
    def hook(tensor: Tensor, hook: object) -> Tensor:  # noqa: ARG001  TransformerLens passes it by name
        replacement = edit.function(tensor.clone())
        if replacement.shape != tensor.shape:
            raise ValueError(
                f"edit refused: expected a tensor of shape {tuple(tensor.shape)}, "
                f"got {tuple(replacement.shape)} at {edit.site}; return one value for each that came in"
            )
        return replacement.to(tensor.dtype)

    return hook


def _capturing(site: str, captured: dict[str, Tensor]) -> Callable[..., Tensor]:
    def hook(tensor: Tensor, hook: object) -> Tensor:  # noqa: ARG001
        captured[site] = tensor.detach().clone()
        return tensor

    return hook
