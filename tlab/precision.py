"""In which kind of number results are computed and kept: in float64 where the model computes in it, else in float32.

Refuses: rounding a model that was loaded in float64 to be exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["precise", "precise_dtype"]


def precise(tensor: Tensor) -> Tensor:
    """Return the tensor in float32, or as it is if it is in float64; take differences only after that."""
    return tensor.to(precise_dtype(tensor.dtype))


def precise_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the kind of number in which what a model of this dtype gives is kept."""
    return torch.float64 if dtype == torch.float64 else torch.float32
