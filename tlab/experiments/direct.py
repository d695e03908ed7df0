"""From the last stream to logits along the direct path alone, at one position: what a part that was written says there.

Refuses: what a part does through later blocks, and models whose stream is no sum up to the final norm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from tlab.errors import UnknownOption, shown
from tlab.experiments.freezing import freeze
from tlab.precision import precise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float
    from torch import Tensor

    from tlab.anatomy.parts import Attention, Block
    from tlab.models import Model

__all__ = ["Leaving", "Readout", "check_is_sum", "leaving", "obstacle"]


def obstacle(model: Model) -> str | None:
    """Return why the model's logits are no sum over its parts, or `None` if they are one."""
    model.check_predicts()
    head: Any = model.anatomy.unembed
    blocks = model.anatomy.decoder.blocks
    if any(place.endswith("_sum") for block in blocks for place in block.norms):
        return "norms after every addition (post-norm)"
    if any(block.adds_to_normed for block in blocks):
        return "parts that are added to the normed stream"
    if not head.is_linear:
        return "layers with an activation between the stream and the logits"
    return None


def check_is_sum(model: Model, what: str) -> None:
    """Return quietly if the model's logits are a sum over its parts, the final norm's scale being fixed.

    Args:
        model: from `load`.
        what: the experiment, for the message.

    Raises:
        UnknownOption: they are not.
        UnusablePrompt: the model predicts no tokens.

    """
    reason = obstacle(model)
    if reason is not None:
        raise UnknownOption(
            f"{what} refused: expected a model whose last stream is the sum of what its parts wrote, "
            f"got {reason} in {shown(model.name)}; use ablate, which assumes no sum"
        )


class Readout:
    """The direct path from the stream after the last block to logits, with the final norm's scale frozen.

    Args:
        model: one that `check_is_sum` accepts.
        last: the stream after the last block at the position that is read.

    """

    def __init__(self, model: Model, last: Float[Tensor, " d_model"]) -> None:
        stack = model.anatomy.decoder
        head: Any = model.anatomy.unembed
        self._norm = freeze(stack.final_norm, last)
        project: Any = stack.project
        self._project: Tensor | None = None if project is None else project.weight.double()
        self._weight: Tensor = head.linear.weight
        self._factor = float(head.scale * head.input_scale)
        bias = torch.zeros(len(self._weight), dtype=torch.float64, device=self._weight.device)
        if getattr(head.linear, "bias", None) is not None:
            bias = bias + head.linear.bias.double() * head.scale
        if head.bias is not None:
            bias = bias + head.bias.double().flatten()
        self.unembed_bias: Float[Tensor, " d_vocab"] = bias

    def directions(self, ids: Sequence[int]) -> Float[Tensor, "token d_model"]:
        """Return, for each token, the direction whose dot product with what a part wrote is its direct effect."""
        return self._norm.before(self._behind_norm(ids))

    def norm_bias(self, ids: Sequence[int]) -> Float[Tensor, " token"]:
        """Return what the final norm's own bias adds to each token's logit."""
        return self._behind_norm(ids) @ self._norm.bias

    def logits(self, parts: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_vocab"]:
        """Return what written parts add to the logits of all tokens."""
        normed = self._norm.part(parts.double())
        if self._project is not None:
            normed = normed @ self._project.T
        # In the model's own precision: the vocabulary is too large to be widened for it.
        narrow: Tensor = normed.to(self._weight.dtype)
        return precise(narrow @ self._weight.T) * self._factor

    def _behind_norm(self, ids: Sequence[int]) -> Tensor:
        rows = self._weight[list(ids)].double() * self._factor
        return rows if self._project is None else rows @ self._project


class Leaving:
    """What lies between a part's own sum and the stream: a norm (sandwich), its scale frozen, and a factor.

    Args:
        block: the part's block.
        place: `attn`, `cross` or `mlp`.
        whole: all that the part gives before that, at the position that is read.

    """

    def __init__(self, block: Block, place: str, whole: Float[Tensor, " d_model"]) -> None:
        self._norm = freeze(block.norms.get(f"{place}_post"), whole)
        self._scale = block.scale

    def before(self, directions: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
        """Return the directions as the part's own terms meet them."""
        return self._norm.before(directions) * self._scale

    def part(self, terms: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """Return what the part's own terms are when they reach the stream."""
        return self._norm.part(terms.double()) * self._scale

    @property
    def bias(self) -> Float[Tensor, " d_model"]:
        """What the norm itself adds."""
        return self._norm.bias * self._scale


def leaving(block: Block, place: str, attn: Attention, z: Float[Tensor, "head d_head"]) -> tuple[Leaving, Tensor]:
    """Return the way of an attention layer's heads to the stream, and what each head writes before it.

    Shapes:
        second result: `head d_model`
    """
    writes = torch.einsum("he,hem->hm", z, attn.W_O)
    whole = writes.sum(0) if attn.b_O is None else writes.sum(0) + attn.b_O
    return Leaving(block, place, whole), writes.double()
