"""The names of parts that can be ablated: `L3H4`, `L3.attn`, `L3.mlp`, `L3`, and the sites behind them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tlab.errors import UnknownTarget, shown

__all__ = ["Target", "parse_targets"]

# Far more than any model needs; Python refuses to read numbers of thousands of digits.
_LONGEST_NAME = 40
_NAME = re.compile(r"L(\d+)(?:H(\d+)|\.(attn|mlp|resid_pre|resid_mid|resid_post))?")


@dataclass(frozen=True)
class Target:
    """One part of a model.

    Args:
        layer: its block, counted from 0.
        part: `head`, `attn`, `mlp`, `layer` for attention and MLP together, or a place in the residual stream.
        head: which head; `None` for the other parts.

    """

    layer: int
    part: str
    head: int | None = None

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites at which the part's output stands."""
        block = f"blocks.{self.layer}"
        places = {
            "head": ("attn.z",),
            "attn": ("attn.out",),
            "mlp": ("mlp.out",),
            "layer": ("attn.out", "mlp.out"),
        }
        return tuple(f"{block}.{place}" for place in places.get(self.part, (self.part,)))

    @property
    def heads(self) -> tuple[int, ...] | None:
        """The heads that are meant at the sites; `None` for all."""
        return None if self.head is None else (self.head,)

    def __str__(self) -> str:
        return f"L{self.layer}" + {"head": f"H{self.head}", "layer": ""}.get(self.part, f".{self.part}")


def parse_targets(
    names: str | Iterable[str], n_layers: int, n_heads: int, *, with_stream: bool = False
) -> tuple[Target, ...]:
    """Read target names and check them against the model's size.

    Args:
        names: one or several.
        n_layers: of the model.
        n_heads: likewise.
        with_stream: whether places in the residual stream (`L3.resid_pre`) may be named, which no part writes alone.

    Raises:
        UnknownTarget: a name cannot be read or lies outside the model.

    """
    if isinstance(names, str):
        names = (names,)
    elif not isinstance(names, Iterable):
        raise UnknownTarget(
            f"target unknown: expected a name such as 'L3H4' or a list of names, got {shown(names)}; put it in quotes"
        )
    return tuple(dict.fromkeys(_parse(name, n_layers, n_heads, with_stream=with_stream) for name in names))


def _parse(name: object, n_layers: int, n_heads: int, *, with_stream: bool) -> Target:
    match = _NAME.fullmatch(name.strip()) if isinstance(name, str) and len(name) <= _LONGEST_NAME else None
    if match is None or ("resid" in match[0] and not with_stream):
        stream = ", 'L3.resid_pre'" if with_stream else ""
        raise UnknownTarget(
            f"target unknown: expected 'L3H4', 'L3.attn', 'L3.mlp'{stream} or 'L3', got {shown(name)}; "
            f"L is the layer, H the head"
        )
    layer, head, part = int(match[1]), match[2], match[3]
    if layer >= n_layers or (head is not None and int(head) >= n_heads):
        raise UnknownTarget(
            f"target outside the model: expected layers 0 to {n_layers - 1} and heads 0 to {n_heads - 1}, "
            f"got {shown(name)}; both count from 0"
        )
    if head is not None:
        return Target(layer, "head", int(head))
    return Target(layer, part or "layer")
