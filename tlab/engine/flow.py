"""One pass of a prompt through the model: what is read on the way, and what is replaced.

Refuses: knowing the model. It sees site names and tensors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tlab.errors import NotFinite, UnusableEdit, shown
from tlab.sites import axes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Edit", "Flow"]


@dataclass(frozen=True, eq=False)
class Edit:
    """Replace what stands at a site while the model runs.

    Args:
        site: e.g. `"blocks.3.attn.z"`.
        function: takes a copy of what is selected and returns its replacement, of the same shape.
        heads: which heads are selected; all by default.
        positions: which positions of the prompt are selected (in attention maps: which destination positions), counted
            from 0; all by default.

    Shapes:
        the function's argument: the site's axes, `pos` and `head` cut down to the selected ones

    """

    site: str
    function: Callable[[Tensor], Tensor]
    heads: tuple[int, ...] | None = None
    positions: tuple[int, ...] | None = None


@dataclass(eq=False)
class Flow:
    """The state of one pass.

    Args:
        wanted: the sites to capture.
        start: the first position that is computed; what stands before it is known from another run.
        is_live: keep captured tensors in the graph of gradients instead of copying them.
        captured: site → what stood there.
        past: attention layer → keys and values of the positions before `start`.
        keeps_past: whether this pass is to keep the keys and values of all positions, for later ones …
        kept: … and here they are.

    """

    wanted: frozenset[str] = frozenset()
    start: int = 0
    is_live: bool = False
    captured: dict[str, Tensor] = field(default_factory=dict)
    past: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    keeps_past: bool = False
    kept: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    _edits: dict[str, list[tuple[Edit, int | None]]] = field(default_factory=dict)

    def add(self, edits: Iterable[Edit], row: int | None = None) -> None:
        """Apply `edits` in this pass, to one row of the batch or to all."""
        for edit in edits:
            self._edits.setdefault(edit.site, []).append((edit, row))

    @property
    def sites(self) -> frozenset[str]:
        """Where anything is read or replaced."""
        return self.wanted | self._edits.keys()

    def concerns(self, site: str) -> bool:
        """Tell whether anything is read or replaced at the site."""
        return site in self.wanted or site in self._edits

    def at(self, site: str, tensor: Tensor) -> Tensor:
        """Take what the model computed at a site; return what it is to go on with."""
        edits = self._edits.get(site)
        if edits:
            tensor = self._edited(site, tensor, edits)
        if site in self.wanted:
            self.captured[site] = tensor if self.is_live else tensor.detach().clone()
        return tensor

    def _edited(self, site: str, tensor: Tensor, edits: Sequence[tuple[Edit, int | None]]) -> Tensor:
        result = tensor.clone()
        axes = axes_of(site)
        for edit, row in edits:
            index = self._index(edit, axes, row, tensor.shape)
            selected = result[index].clone()
            replacement = edit.function(selected)
            if not isinstance(replacement, Tensor) or replacement.shape != selected.shape:
                raise UnusableEdit(
                    f"edit refused: expected a tensor of shape {tuple(selected.shape)}, "
                    f"got {tuple(getattr(replacement, 'shape', ())) or type(replacement).__name__} at {site}; "
                    f"return one value for each that came in"
                )
            replacement = replacement.to(result.dtype)
            _check_numbers(replacement, site)
            result[index] = replacement
        return result

    def _index(
        self, edit: Edit, axes: tuple[str, ...], row: int | None, shape: Sequence[int]
    ) -> tuple[slice | Tensor | list[int], ...]:
        index: list[slice | Tensor | list[int]] = [slice(None)] * len(axes)
        if row is not None:
            index[0] = slice(row, row + 1)
        lists: dict[int, list[int]] = {}
        for axis, name in enumerate(axes):
            if name in {"pos", "dest_pos"} and edit.positions is not None:
                lists[axis] = [position - self.start for position in edit.positions]
            elif name in {"head", "kv_head"} and edit.heads is not None:
                lists[axis] = list(edit.heads)
        if edit.heads is not None and not {"head", "kv_head"} & set(axes):
            raise UnusableEdit(
                f"edit refused: expected a site with heads, got {shown(edit.heads)} at {edit.site}; leave them out"
            )
        for axis, chosen in lists.items():
            # torch would take a run outside for an empty one, and the edit would change nothing.
            if not all(0 <= one < shape[axis] for one in chosen):
                what, got = ("heads", edit.heads) if "head" in axes[axis] else ("positions", edit.positions)
                offset = self.start if what == "positions" else 0
                raise UnusableEdit(
                    f"edit refused: expected {what} from {offset} to {offset + shape[axis] - 1}, got {shown(got)} "
                    f"at {edit.site}; count from 0"
                )
            first, last = (chosen[0], chosen[-1]) if chosen else (0, -1)
            is_run = chosen == list(range(first, last + 1))
            index[axis] = slice(first, last + 1) if is_run else chosen
        return _broadcastable(index)


def _check_numbers(replacement: Tensor, site: str) -> None:
    # A sum is finite only if all of it is, and takes a fraction of the time.
    if math.isfinite(replacement.detach().sum()):
        return
    # Scores of minus infinity are how reading is forbidden.
    are_usable = ~replacement.isnan() if site.endswith(".scores") else replacement.isfinite()
    if not are_usable.all():
        n_wrong = int((~are_usable).sum())
        raise NotFinite(
            f"edit refused: expected finite numbers, got {n_wrong} of {replacement.numel()} that are not at {site}; "
            f"look for a division by zero, or a number too large for {str(replacement.dtype).removeprefix('torch.')}"
        )


def _broadcastable(index: list[slice | Tensor | list[int]]) -> tuple[slice | Tensor | list[int], ...]:
    """Let several lists in an index select a grid instead of pairs."""
    scattered = [axis for axis, part in enumerate(index) if isinstance(part, list)]
    if len(scattered) < 2:  # noqa: PLR2004
        return tuple(index)
    # pos and head, and head and dest_pos, are neighbours at every site, so that the grid stays in their place.
    first, second = index[scattered[0]], index[scattered[1]]
    index[scattered[0]] = torch.tensor(first)[:, None]
    index[scattered[1]] = torch.tensor(second)[None]
    return tuple(index)
