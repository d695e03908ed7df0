"""The terms of a logit: what every part wrote at one position, read along a direction in the stream.

Refuses: finding the direction (`direct`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from tlab.errors import UnknownOption, shown
from tlab.experiments.direct import Leaving, leaving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jaxtyping import Float
    from torch import Tensor

    from tlab.anatomy.parts import Block
    from tlab.engine import Run
    from tlab.models import Model

__all__ = ["GROUPS", "Terms", "sites_of", "terms_of"]

GROUPS = ("layer", "component", "head", "mlp", "neuron")


@dataclass(frozen=True, eq=False)
class Terms:
    """Some parts of one kind and their effects.

    Args:
        names: one a part.
        layer: where they are; -1 outside the blocks.
        kind: `embed`, `layer`, `attn`, `cross`, `head`, `mlp`, `neuron` or `bias`.
        effects: what each part says for each direction.

    """

    names: tuple[str, ...]
    layer: int
    kind: str
    effects: Float[Tensor, "part direction"]


def sites_of(model: Model, by: str) -> list[str]:
    """Return the sites that `terms_of` reads.

    Raises:
        UnknownOption: neurons are asked for, and some MLP is a choice among experts.

    """
    stack = model.anatomy.decoder
    sites = ["blocks.0.resid_pre", f"blocks.{model.n_layers - 1}.resid_post"]
    sites += ["ln_final.out"] if stack.final_norm is not None else []
    attn = "z" if by == "head" else "out"
    for layer, block in enumerate(stack.blocks):
        sites.append(f"blocks.{layer}.attn.{attn}")
        sites += [f"blocks.{layer}.cross_attn.{attn}"] if block.cross is not None else []
        if block.mlp is not None:
            if by == "neuron" and block.mlp.W_out is None:
                raise UnknownOption(
                    f"by refused: expected MLPs whose neurons can be told apart, got experts at blocks.{layer}.mlp "
                    f"in {shown(model.name)}; try by='mlp'"
                )
            sites.append(f"blocks.{layer}.mlp.{'post' if by == 'neuron' else 'out'}")
    return sites


def terms_of(
    model: Model, done: Run, position: int, by: str, directions: Float[Tensor, "direction d_model"]
) -> list[Terms]:
    """Return every part's effects; together with the biases at the end they add up to the logits.

    Args:
        model: from `load`.
        done: a run that captured `sites_of`.
        position: where it is read.
        by: one of `GROUPS`.
        directions: from `Readout`.

    """

    def at(site: str) -> Tensor:
        return done.captured[site][0, position]

    embedded = at("blocks.0.resid_pre").double() @ directions.T
    terms = [Terms(("embed",), -1, "embed", embedded[None])]
    for layer, block in enumerate(model.anatomy.decoder.blocks):
        found = list(_block_terms(block, layer, by, directions, at))
        if by == "layer":
            found = [Terms((f"L{layer}",), layer, "layer", _sum_of(found))]
        terms += found
    if by == "mlp":
        attention = [one for one in terms if one.kind in {"attn", "cross"}]
        rest = [one for one in terms if one.kind not in {"attn", "cross"}]
        terms = [*rest[:1], Terms(("all attention",), -1, "attn", _sum_of(attention)), *rest[1:]]
    return terms


def _sum_of(terms: list[Terms]) -> Float[Tensor, "one direction"]:
    """Return the sum of all parts' effects."""
    return torch.cat([one.effects for one in terms]).sum(0, keepdim=True)


def _block_terms(block: Block, layer: int, by: str, directions: Tensor, at: Callable[[str], Tensor]) -> Iterator[Terms]:
    for kind, name in (("attn", "attn"), ("cross", "cross_attn")):
        if kind == "cross" and block.cross is None:
            continue
        site = f"blocks.{layer}.{name}"
        if by == "head":
            yield from _head_terms(block, kind, layer, at(f"{site}.z"), directions)
        else:
            yield _whole(f"L{layer}.{kind}", layer, kind, at(f"{site}.out"), directions)
    if block.mlp is None:
        return
    if by == "neuron":
        yield from _neuron_terms(block, layer, at(f"blocks.{layer}.mlp.post"), directions)
    else:
        yield _whole(f"L{layer}.mlp", layer, "mlp", at(f"blocks.{layer}.mlp.out"), directions)


def _whole(name: str, layer: int, kind: str, written: Tensor, directions: Tensor) -> Terms:
    return Terms((name,), layer, kind, (written.double() @ directions.T)[None])


def _head_terms(block: Block, kind: str, layer: int, z: Tensor, directions: Tensor) -> Iterator[Terms]:
    attn = block.cross if kind == "cross" and block.cross is not None else block.attn
    way, writes = leaving(block, kind, attn, z)
    inner = way.before(directions)
    cross = "" if kind == "attn" else ".cross"
    names = tuple(f"L{layer}{cross}H{head}" for head in range(len(writes)))
    yield Terms(names, layer, "head", writes @ inner.T)
    yield from _bias_terms(f"L{layer}.{kind}.b_O", layer, attn.b_O, way, directions)


def _neuron_terms(block: Block, layer: int, post: Tensor, directions: Tensor) -> Iterator[Terms]:
    mlp: Any = block.mlp
    weight, bias = mlp.W_out, mlp.down.bias
    whole = post @ weight if bias is None else post @ weight + bias
    way = Leaving(block, "mlp", whole)
    names = tuple(f"L{layer}N{neuron}" for neuron in range(len(post)))
    # Neurons are many: their weights are read along the directions without being widened first.
    along = (weight @ way.before(directions).to(weight.dtype).T).double()
    yield Terms(names, layer, "neuron", post.double()[:, None] * along)
    yield from _bias_terms(f"L{layer}.mlp.b_out", layer, bias, way, directions)


def _bias_terms(name: str, layer: int, bias: Tensor | None, way: Leaving, directions: Tensor) -> Iterator[Terms]:
    """Return what a part adds whatever its heads or neurons say, its own norm's bias included."""
    constant = way.bias if bias is None else way.part(bias) + way.bias
    if constant.any():
        yield Terms((name,), layer, "bias", (constant @ directions.T)[None])
