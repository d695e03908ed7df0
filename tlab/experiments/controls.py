"""Controls: parts of the same kind and number as those of an experiment, drawn at random.

An effect means little by itself: the question is always whether other parts would have had it too.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tlab.plain import whole_number
from tlab.targets import Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlab.models import Model

__all__ = ["alike"]

_MOST = 1000


def alike(targets: Sequence[Target], model: Model, *, n_choices: int, seed: int) -> list[tuple[Target, ...]]:
    """Return `n_choices` sets of targets, each with as many of each kind as `targets`, and none of them.

    Fewer are returned where the model has no others.

    Raises:
        UnknownOption: the number is none from 0 to 1000.

    """
    n_choices = whole_number("controls", n_choices, 0, _MOST, "try controls=5")
    if not targets:
        return []
    draw = random.Random(seed)  # noqa: S311  a sample, no secret
    others = {part: _others(part, targets, model) for part in {target.part for target in targets}}
    if any(len(others[target.part]) < len(targets) for target in targets):
        return []
    return [
        tuple(
            one for part in others for one in draw.sample(others[part], sum(target.part == part for target in targets))
        )
        for _ in range(n_choices)
    ]


def _others(part: str, targets: Sequence[Target], model: Model) -> list[Target]:
    heads = range(model.n_heads) if part == "head" else (None,)
    everything = [Target(layer, part, head) for layer in range(model.n_layers) for head in heads]
    return [target for target in everything if target not in targets]
