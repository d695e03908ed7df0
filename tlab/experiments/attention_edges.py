"""Edges of attention: who reads from whom, by position or token, and what forbids it.

Refuses: running the model.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch

from tlab.engine import Edit, Variant
from tlab.errors import UnknownOption, shown
from tlab.experiments.intervention import checked_layer
from tlab.plain import whole
from tlab.targets import parse_targets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from tlab.models import Model

__all__ = ["edges_of", "forbidden", "heads_of", "other_sources", "positions_of"]

# How often as many draws as wanted are made before it is taken that there are no more different ones.
_TRIES = 20


def edges_of(edges: object, tokens: Sequence[str], *, is_causal: bool) -> tuple[tuple[int, int], ...]:
    """Return edges `(source, destination)` as positions, each once.

    Raises:
        UnknownOption: one of them is no pair of positions, or reads from a later one.

    """
    given = tuple(edges) if isinstance(edges, Iterable) and not isinstance(edges, str) else (edges,)
    found = []
    for edge in given:
        if not isinstance(edge, (tuple, list)) or len(edge) != 2:  # noqa: PLR2004  a pair
            raise UnknownOption(
                f"edge refused: expected a pair (source, destination), got {shown(edge)}; try [(' France', -1)]"
            )
        source, end = (_position(one, tokens) for one in edge)
        if source > end and is_causal:
            raise UnknownOption(
                f"edge refused: expected a source at or before the destination {end}, got {source}; "
                f"in this model no position reads from a later one"
            )
        found.append((source, end))
    return tuple(dict.fromkeys(found))


def positions_of(given: object, tokens: Sequence[str]) -> tuple[int, ...]:
    """Return one or several positions, each given as a number or as the text of a token that occurs once.

    Raises:
        UnknownOption: one of them is no such thing, or there is none.

    """
    many = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
    if not many:
        raise UnknownOption("position refused: expected at least one, got none; name a token such as ' France'")
    return tuple(sorted({_position(one, tokens) for one in many}))


def heads_of(model: Model, layers: object, heads: Any) -> dict[int, tuple[int, ...]]:  # noqa: ANN401  it is checked here
    """Return the heads that layers or names of heads stand for, by layer.

    Raises:
        UnknownOption: none was named, or both were given.
        UnknownTarget: a head's name cannot be read, or a head or layer lies outside the model.

    """
    if heads is not None:
        if layers is not None:
            raise UnknownOption("heads refused: expected heads or layers, got both; a head's name says its layer")
        found: dict[int, tuple[int, ...]] = {}
        for target in parse_targets(heads, model.n_layers, model.n_heads):
            if target.head is None:
                raise UnknownOption(f"head refused: expected a name such as 'L3H4', got {shown(str(target))}; add H…")
            found[target.layer] = (*found.get(target.layer, ()), target.head)
        if not found:
            raise UnknownOption(f"heads refused: expected at least one, got {shown(heads)}; leave it out to take all")
        return {layer: tuple(sorted(found[layer])) for layer in sorted(found)}
    given = range(model.n_layers) if layers is None else layers
    many = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
    if not many:
        raise UnknownOption(f"layers refused: expected at least one, got {shown(layers)}; leave it out to take all")
    chosen = {checked_layer(model, layer) for layer in many}
    return {layer: tuple(range(model.n_heads)) for layer in sorted(chosen)}


def forbidden(pairs: Sequence[tuple[int, int]], chosen: Mapping[int, tuple[int, ...]]) -> Variant:
    """Return the run in which the edges are forbidden in the chosen heads, `layer → heads`."""
    sources: dict[int, list[int]] = {}
    for source, end in pairs:
        sources.setdefault(end, []).append(source)
    return Variant(
        tuple(
            Edit(f"blocks.{layer}.attn.scores", _Forbid(some, end), heads=heads, positions=(end,))
            for layer, heads in chosen.items()
            for end, some in sources.items()
        )
    )


class _Forbid:
    """Set the scores of some sources to minus infinity."""

    def __init__(self, sources: Sequence[int], destination: int) -> None:
        self._sources, self._destination = list(sources), destination

    def __call__(self, scores: Tensor) -> Tensor:
        scores[..., self._sources] = -torch.inf
        # What the mask hides stands at the smallest number that there is, or beyond it.
        if not bool((scores > torch.finfo(scores.dtype).min / 2).any(-1).all()):
            raise UnknownOption(
                f"edges refused: expected at least one source left for each destination, got none at position "
                f"{self._destination}; leave it itself, or the first token"
            )
        return scores


def other_sources(
    pairs: Sequence[tuple[int, int]], n_pos: int, n_choices: int, seed: int
) -> list[tuple[tuple[int, int], ...]]:
    """Return the same edges from other sources, drawn at random; fewer, or none, where there are no others.

    The first position is left out: in many models it is where attention goes that is not needed elsewhere, so that
    nothing compares with it. So are the destinations, and what they cannot read.
    """
    sources, ends = list(dict.fromkeys(source for source, _ in pairs)), {end for _, end in pairs}
    free = [place for place in range(1, min(ends, default=n_pos)) if place not in sources and place not in ends]
    if not sources or len(free) < len(sources):
        return []
    draw = random.Random(seed)  # noqa: S311  a sample, no secret
    found: dict[tuple[int, ...], tuple[tuple[int, int], ...]] = {}
    for _ in range(n_choices * _TRIES):
        if len(found) == n_choices:
            break
        chosen = draw.sample(free, len(sources))
        instead = dict(zip(sources, chosen, strict=True))
        found.setdefault(tuple(sorted(chosen)), tuple((instead[source], end) for source, end in pairs))
    return list(found.values())


def _position(given: object, tokens: Sequence[str]) -> int:
    """Return the position that a number or a token's text stands for."""
    if isinstance(given, str):
        places = [place for place, token in enumerate(tokens) if token == given]
        if len(places) == 1:
            return places[0]
        if places:
            raise UnknownOption(
                f"position refused: expected a token that occurs once, got {shown(given)} at "
                f"{', '.join(map(str, places))}; give its position"
            )
        raise UnknownOption(
            f"position refused: expected a token of the prompt, got {shown(given)}; "
            f"it has {shown(list(tokens))} (a leading space counts)"
        )
    place = whole(given)
    if place is not None and -len(tokens) <= place < len(tokens):
        return place % len(tokens)
    raise UnknownOption(
        f"position refused: expected {-len(tokens)} to {len(tokens) - 1}, or a token's text, got {shown(given)}; "
        f"the prompt has {len(tokens)} tokens"
    )
