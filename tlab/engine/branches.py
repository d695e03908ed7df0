"""One block at a time, its parts apart: what queries, keys, values, heads and MLP give when each reads its own stream.

In a plain run all of them read the same stream. Paths and circuits are about runs in which they do not. Refuses:
meaning, and models that read a second stack of blocks.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

import torch

from tlab.engine.flow import Edit, Flow
from tlab.engine.forward import Inputs, block_pass, enter, open_hooks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Int
    from torch import Tensor

    from tlab.anatomy.parts import Block
    from tlab.models import Model

__all__ = ["Branches"]


class Branches:
    """A model's blocks, ready to be run part by part on streams of a given number of positions.

    What is computed keeps a graph of gradients if the streams ask for one.

    Args:
        model: a decoder, or an encoder.
        ids: any ids of that many positions; masks and positions are made for them.

    """

    def __init__(self, model: Model, ids: Int[Tensor, " pos"]) -> None:
        flow = Flow()
        with open_hooks(model, flow):
            _, self._arguments = enter(model, Inputs(ids[None]), flow)
        self._blocks = model.anatomy.decoder.blocks

    def read(self, layer: int, stream: Float[Tensor, "row pos d_model"]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the queries, keys and values that a block's attention makes of a stream, as they enter the scores.

        Shapes:
            returns: `row pos head d_head`, keys and values `row pos kv_head d_head`

        """
        attn = self._blocks[layer].attn
        names = ("rot_q", "rot_k") if attn.is_rotary else ("q", "k")
        sites = tuple(f"blocks.{layer}.attn.{name}" for name in (*names, "v"))
        found = self._until(layer, _attention_only(self._blocks[layer]), stream, sites)
        return found[sites[0]], found[sites[1]], found[sites[2]]

    def attend(
        self,
        layer: int,
        query: Float[Tensor, "row pos head d_head"],
        key: Float[Tensor, "row pos kv_head d_head"],
        value: Float[Tensor, "row pos kv_head d_head"],
    ) -> Float[Tensor, "row pos head d_head"]:
        """Return what every head reads with these queries, keys and values: its result `z`."""
        block = self._blocks[layer]
        names = ("rot_q", "rot_k") if block.attn.is_rotary else ("q", "k")
        given = dict(zip((*names, "v"), (query, key, value), strict=True))
        edits = [_put(f"blocks.{layer}.attn.{name}", tensor) for name, tensor in given.items()]
        site = f"blocks.{layer}.attn.z"
        # The stream itself is without effect: all that is made of it is replaced.
        stream = torch.zeros(*query.shape[:2], block.attn.W_O.shape[-1], dtype=query.dtype, device=query.device)
        return self._until(layer, _attention_only(block), stream.to(block.attn.W_O.dtype), (site,), edits)[site]

    def write(self, layer: int, z: Float[Tensor, "row pos head d_head"]) -> Float[Tensor, "row pos d_model"]:
        """Return what a block's attention adds to the stream when its heads give `z`: the site `attn.out`."""
        block = self._blocks[layer]
        out = block.attn.out
        silent = dataclasses.replace(block.attn, call=lambda _tap, _normed, _arguments: out(z.flatten(-2)))
        site = f"blocks.{layer}.attn.out"
        stream = z.new_zeros(*z.shape[:2], block.attn.W_O.shape[-1])
        return self._until(layer, dataclasses.replace(_attention_only(block), attn=silent), stream, (site,))[site]

    def think(self, layer: int, stream: Float[Tensor, "row pos d_model"]) -> Float[Tensor, "row pos d_model"]:
        """Return what a block's MLP adds to the stream when it reads this one: the site `mlp.out`."""
        block = self._blocks[layer]
        silent = dataclasses.replace(block.attn, call=lambda _tap, normed, _arguments: torch.zeros_like(normed))
        edits = [] if block.is_parallel else [_put(f"blocks.{layer}.resid_mid", stream)]
        site = f"blocks.{layer}.mlp.out"
        return self._until(layer, dataclasses.replace(block, attn=silent, cross=None), stream, (site,), edits)[site]

    def _until(
        self, layer: int, block: Block, stream: Tensor, sites: tuple[str, ...], edits: Sequence[Edit] = ()
    ) -> dict[str, Tensor]:
        """Run a block up to the last of `sites`; return what stood at them."""
        found: dict[str, Tensor] = {}

        def note(site: str) -> Edit:
            def seen(tensor: Tensor) -> Tensor:
                found[site] = tensor
                if site == sites[-1]:
                    raise _Arrived
                return tensor

            return Edit(site, seen)

        flow = Flow(is_live=True)
        flow.add([*edits, *map(note, sites)])
        with contextlib.suppress(_Arrived):
            block_pass(block, f"blocks.{layer}", stream, self._arguments[layer], flow)
        return found


class _Arrived(Exception):
    """What was asked for is there; the rest of the block is not needed."""


def _attention_only(block: Block) -> Block:
    return dataclasses.replace(block, mlp=None, cross=None, is_parallel=False)


def _put(site: str, tensor: Tensor) -> Edit:
    return Edit(site, lambda _: tensor)
