"""What is changed while a text is continued, told by plain values: parts that are ablated, a vector that is added.

A text that grows is computed piece by piece, so that a change must know at which positions a piece stands. Refuses:
running the model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tlab.engine import Edit
from tlab.errors import NotFinite, UnknownOption, UnknownTarget, shown
from tlab.experiments.replacement import ablations, replacements
from tlab.plain import finite_number, whole, whole_number
from tlab.precision import precise
from tlab.targets import parse_targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float

    from tlab.models import Model

__all__ = ["Interventions", "Push", "checked_layer", "checked_vector", "push_of"]

_PLACES = ("all", "prompt", "last", "continuation")
# What later positions read again from the memory of earlier ones: an edit there would have to reach into it.
_REMEMBERED = ("attn.k", "attn.rot_k", "attn.v")


@dataclass(frozen=True, eq=False)
class Push:
    """A vector that is added to the residual stream after a block.

    Args:
        vector: what is added, already multiplied with its coefficient.
        layer: the block.
        positions: `all`; `prompt` (without what is generated); `last` (the prompt's last position alone);
            `continuation` (from there on: every position at which a token is generated); or positions of the prompt.

    """

    vector: Float[Tensor, " d_model"]
    layer: int
    positions: str | tuple[int, ...]

    @property
    def site(self) -> str:
        """Where the vector is added."""
        return f"blocks.{self.layer}.resid_post"

    def along(self, vector: Float[Tensor, " d_model"]) -> Push:
        """Return the same push with another vector."""
        return replace(self, vector=vector)

    def edits(self, start: int, stop: int, n_prompt: int) -> tuple[Edit, ...]:
        """Return the edits of a pass over the positions from `start` to `stop`."""
        chosen = self._chosen(start, stop, n_prompt)
        if chosen is not None and not chosen:
            return ()
        return (Edit(self.site, self._add, positions=chosen),)

    def _chosen(self, start: int, stop: int, n_prompt: int) -> tuple[int, ...] | None:
        if self.positions == "all":
            return None
        if self.positions == "continuation":
            return None if start >= n_prompt - 1 else tuple(range(n_prompt - 1, stop))
        if self.positions == "prompt":
            return tuple(range(start, min(stop, n_prompt)))
        named = (n_prompt - 1,) if self.positions == "last" else self.positions
        return tuple(position for position in named if isinstance(position, int) and start <= position < stop)

    def _add(self, stream: Tensor) -> Tensor:
        return stream + self.vector.to(stream)


class Interventions:
    """The edits of every pass over a text that grows.

    Args:
        model: from `load`.
        n_prompt: positions of the prompt, in the stack that predicts.
        n_most: positions of the longest text that can come out.
        ablate: names of parts to take out at every position.
        method: what takes their place.
        reference: the prompts from which it is taken.
        seed: of random replacements.
        push: a vector to add.
        edits: of the caller's own.

    Raises:
        UnknownTarget: a name cannot be read or lies outside the model.
        UnknownOption: the method is none, or an edit names positions outside the prompt.

    """

    def __init__(
        self,
        model: Model,
        n_prompt: int,
        n_most: int,
        *,
        ablate: str | Sequence[str] = (),
        method: str = "zero",
        reference: Sequence[str] = (),
        seed: int = 0,
        push: Push | None = None,
        edits: Sequence[Edit] = (),
    ) -> None:
        self._n_prompt = n_prompt
        self._targets = parse_targets(ablate, model.n_layers, model.n_heads)
        sites = tuple(dict.fromkeys(site for target in self._targets for site in target.sites))
        self._values = replacements(model, sites, n_most, method=method, reference=reference, seed=seed)
        self._method = method
        self._push = push
        self._edits = _checked_edits(edits, n_prompt)

    @property
    def is_incremental(self) -> bool:
        """Whether a pass may leave out positions that earlier passes computed.

        An edit of the caller's own without positions is given the whole text each time, since it may mix positions.
        """
        return all(edit.positions is not None and not edit.site.endswith(_REMEMBERED) for edit in self._edits)

    @property
    def label(self) -> str:
        """What is changed, in words; empty if nothing is."""
        names = ", ".join(map(str, self._targets))
        parts = [f"{names} ablated ({self._method})"] if names else []
        if self._push is not None:
            length = float(self._push.vector.norm())
            parts.append(f"a vector of length {length:.3g} added after block {self._push.layer}")
        if self._edits:
            parts.append(f"edits at {', '.join(dict.fromkeys(edit.site for edit in self._edits))}")
        return " and ".join(parts)

    def __call__(self, start: int, stop: int) -> list[Edit]:
        """Return the edits of a pass over the positions from `start` to `stop`."""
        values = {site: value if value.dim() == 0 else value[start:stop] for site, value in self._values.items()}
        pushed = () if self._push is None else self._push.edits(start, stop, self._n_prompt)
        # Those with positions lie in the prompt, which a later piece does not compute again.
        own = self._edits if start == 0 else ()
        return [*ablations(self._targets, values), *pushed, *own]


def push_of(
    model: Model,
    vector: Any,  # noqa: ANN401  checked here
    *,
    layer: int | None,
    coef: float,
    positions: Any,  # noqa: ANN401  likewise
    n_prompt: int,
) -> Push:
    """Return the push that a caller asked for.

    Args:
        model: from `load`.
        vector: numbers, or a result that has a `vector` and a `layer`.
        layer: the block; by default the result's.
        coef: what the vector is multiplied with.
        positions: see `Push`.
        n_prompt: positions of the prompt.

    Raises:
        UnknownTarget: there is no such layer.
        UnknownOption: another of them cannot be used.

    """
    numbers = checked_vector(model, vector)
    if isinstance(positions, str):
        if positions not in _PLACES:
            raise UnknownOption(
                f"positions refused: expected {', '.join(map(repr, _PLACES))} or a list of numbers, "
                f"got {shown(positions)}; try 'all'"
            )
        chosen: str | tuple[int, ...] = positions
    else:
        chosen = _checked_positions(positions, n_prompt)
    scaled = numbers * finite_number("coef", coef)
    return Push(scaled, checked_layer(model, getattr(vector, "layer", None) if layer is None else layer), chosen)


def checked_vector(model: Model, vector: Any) -> Float[Tensor, " d_model"]:  # noqa: ANN401  whatever a caller gave
    """Return the vector's numbers, on the CPU.

    Raises:
        UnknownOption: there is not one number for each dimension of the stream.
        NotFinite: one of them is infinite or no number.

    """
    numbers = getattr(vector, "vector", vector)
    if isinstance(numbers, list | tuple | np.ndarray):
        numbers = _tensor_of(numbers)
    if not isinstance(numbers, Tensor) or tuple(numbers.shape) != (model.d_model,):
        got = f"shape {tuple(numbers.shape)}" if isinstance(numbers, Tensor) else shown(vector)
        raise UnknownOption(
            f"vector refused: expected {model.d_model} numbers, as wide as the residual stream, got {got}; "
            f"make one with tlab.steering_vector"
        )
    if not bool(numbers.isfinite().all()):
        n_wrong = int((~numbers.isfinite()).sum())
        raise NotFinite(
            f"vector refused: expected finite numbers, got {n_wrong} of {len(numbers)} that are not; make it again"
        )
    return precise(numbers.detach().cpu())


def _tensor_of(numbers: Any) -> Tensor | None:  # noqa: ANN401  whatever a caller gave
    """Return a list of numbers as a tensor; `None` if it is none."""
    try:
        found = torch.as_tensor(numbers)
    except (TypeError, ValueError, RuntimeError):  # torch says either, depending on what is in it
        return None
    return None if found.dtype == torch.bool or found.is_complex() else found


def checked_layer(model: Model, layer: Any) -> int:  # noqa: ANN401  whatever a caller gave
    """Return the layer.

    Raises:
        UnknownTarget: the model has no such block.

    """
    repair = f"name one, such as layer={model.n_layers // 2}"
    return whole_number("layer", layer, 0, model.n_layers - 1, repair, kind=UnknownTarget)


def _checked_positions(positions: Any, n_prompt: int) -> tuple[int, ...]:  # noqa: ANN401  checked here
    listed = positions if whole(positions) is None else [positions]
    repair = f"the prompt has {n_prompt} tokens"
    try:
        numbers = [whole_number("position", one, -n_prompt, n_prompt - 1, repair) for one in listed]
    except TypeError as error:
        raise UnknownOption(
            f"positions refused: expected {', '.join(map(repr, _PLACES))} or a list of numbers, "
            f"got {shown(positions)}; try 'all'"
        ) from error
    if not numbers:
        raise UnknownOption(
            f"positions refused: expected at least one, got {shown(positions)}, where nothing would change; try 'all'"
        )
    return tuple(sorted({position % n_prompt for position in numbers}))


def _checked_edits(edits: Sequence[Edit], n_prompt: int) -> tuple[Edit, ...]:
    for edit in edits:
        if not isinstance(edit, Edit):
            raise UnknownOption(
                f"edits refused: expected a list of tlab.engine.Edit, got {shown(edit)} in it; "
                f"name parts with ablate=('L3H4',) instead"
            )
        outside = [position for position in edit.positions or () if not 0 <= position < n_prompt]
        if outside and not edit.site.startswith("encoder."):
            raise UnknownOption(
                f"edit refused: expected positions of the prompt, from 0 to {n_prompt - 1}, got {shown(outside[0])} "
                f"at {edit.site}; leave positions out to edit every position"
            )
    return tuple(edits)
