"""Where a run is read: at which position, and, for what is too large to be kept, at the moment when it stands there.

Refuses: running the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlab.engine import Edit
from tlab.plain import whole_number

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from tlab.models import Model

__all__ = ["reading_position", "watch"]


def reading_position(model: Model, ids: Tensor, position: int | None) -> int:
    """Return the position to read at, counted from 0: by default the last, in an encoder its mask if there is one.

    Shapes:
        ids: `pos`

    Raises:
        UnknownOption: the position lies outside the prompt.

    """
    n_pos = len(ids)
    if position is None:
        masked = (ids == model.tokenizer.mask_token_id).nonzero() if model.family == "encoder" else ids[:0]
        return int(masked[0]) if len(masked) else n_pos - 1
    return whole_number("position", position, -n_pos, n_pos - 1, f"the prompt has {n_pos} tokens") % n_pos


def watch(site: str, note: Callable[[Tensor], object], *, positions: tuple[int, ...] | None = None) -> Edit:
    """Return an edit that shows `note` what stands at a site and changes nothing: a capture that keeps less.

    Args:
        site: where.
        note: is given a copy of what stands there.
        positions: which positions it is given; all by default.

    """

    def show(tensor: Tensor) -> Tensor:
        note(tensor)
        return tensor

    return Edit(site, show, positions=positions)
