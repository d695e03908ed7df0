"""A norm with its scale held fast: what makes a logit a sum over the parts that wrote to the stream.

Every norm here maps a vector to `gain · (x − its mean, or not) / scale(x) + bias`. With the scale kept as it was for
one vector, that is a linear map and a constant. Which norm it is, is found by asking it, so that weights stored as
`1 + w`, missing weights and centring need no table of classes. Refuses: norms of another form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tlab.errors import UnknownOption

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor, nn

__all__ = ["FrozenNorm", "freeze"]

# What the frozen norm may differ from the norm itself, of its largest output, by kind of number.
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}
_CLEARLY = 0.1


@dataclass(frozen=True, eq=False)
class FrozenNorm:
    """The linear map and the constant that a norm is, at one vector.

    Args:
        gain: what each number is multiplied with, the frozen scale included.
        bias: what is added.
        is_centred: whether the mean of a vector is taken away first.

    """

    gain: Float[Tensor, " d_model"]
    bias: Float[Tensor, " d_model"]
    is_centred: bool

    def part(self, vector: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """Return what a part of the stream becomes: the linear map, without the constant."""
        return self._centre(vector) * self.gain

    def before(self, direction: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """Return the direction in front of the norm that says what `direction` says behind it (the transpose)."""
        return self._centre(direction * self.gain)

    def _centre(self, vector: Tensor) -> Tensor:
        return vector - vector.mean(-1, keepdim=True) if self.is_centred else vector


def freeze(norm: nn.Module | None, vector: Float[Tensor, " d_model"]) -> FrozenNorm:
    """Return the norm with the scale that it has for `vector`; no norm is the map that changes nothing.

    Invariants:
        `freeze(norm, x).part(x) + bias` is `norm(x)`.

    Raises:
        UnknownOption: the norm is none of this form.

    Source:
        Elhage et al., "A Mathematical Framework for Transformer Circuits" (2021), transformer-circuits.pub, treats the
        norm's scale as fixed in the same way.

    """
    exact = vector.double()
    if norm is None:
        return FrozenNorm(torch.ones_like(exact), torch.zeros_like(exact), is_centred=False)
    probe = _probe(vector)
    with_probe, shifted, bias, found = (
        norm(one[None, None])[0, 0].double() for one in (probe, probe + 1, torch.zeros_like(vector), vector)
    )
    is_centred = bool((shifted - with_probe).abs().max() < _CLEARLY * (with_probe - bias).abs().max())
    shape = FrozenNorm((with_probe - bias) / probe.double(), bias, is_centred)
    unscaled = shape.part(exact)
    length = (unscaled * unscaled).sum()
    scale = ((found - bias) * unscaled).sum() / length if length > 0 else length
    frozen = FrozenNorm(shape.gain * scale, bias, is_centred)
    error = (frozen.part(exact) + bias - found).abs().max()
    if error > _TOLERANCE[vector.dtype] * found.abs().max():
        raise UnknownOption(
            f"scale not frozen: expected a norm that is linear once its scale is fixed, got {type(norm).__name__}, "
            f"which differs by {float(error):.2g}; use ablate, which assumes nothing of norms"
        )
    return frozen


def _probe(vector: Tensor) -> Tensor:
    """Return a vector without zeros whose mean is nought, so that every norm shows its gain on it."""
    signs = torch.ones_like(vector)
    signs[1::2] = -1
    if len(vector) % 2:
        signs[0] = 2
        signs[2] = -1
        signs[1] = -1
    return signs
