"""Gradients: how a number that is measured from the logits changes with what stands at the model's sites.

The pass is taken back block by block, so that the graph of one block is all that lies in memory at a time. Refuses:
training, since the model's parameters have no gradients, and meaning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tlab.engine.flow import Edit, Flow
from tlab.engine.forward import Inputs, Run, block_pass, enter, open_hooks, read_out, run
from tlab.sites import check_site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jaxtyping import Float
    from torch import Tensor

    from tlab.engine.branches import Branches
    from tlab.models import Model

__all__ = ["gradients", "head_gradients", "mlp_gradient"]


def gradients(
    model: Model,
    inputs: Inputs | Tensor,
    sites: Iterable[str],
    measure: Callable[[Tensor], Tensor],
    *,
    edits: Sequence[Edit] = (),
    read: Sequence[int] | None = None,
) -> tuple[Float[Tensor, " batch"], dict[str, Tensor], dict[str, Tensor]]:
    """Run the model once and take what was measured back to every site.

    Args:
        model: from `load`.
        inputs: the ids, alone or with masks.
        sites: where the gradient is wanted.
        measure: from logits `batch read d_vocab` to one number a row.
        edits: what is replaced in the run; they are applied twice, and must do the same both times.
        read: the positions whose logits `measure` gets; all by default.

    Returns:
        The numbers; what stood at the sites; and the gradients, of the same shapes. Where a site does not concern the
        number, the gradient is zero.

    Raises:
        UnknownSite: a site is none of this model's.
        UnusableEdit: an edit returned something of another shape.

    Cost: two forward passes and a backward one; in memory the stream of every block, the graph of one, and what was
    asked for. An encoder-decoder's graph is kept whole.

    """
    given = inputs if isinstance(inputs, Inputs) else Inputs(inputs if inputs.dim() > 1 else inputs[None])
    wanted = tuple(dict.fromkeys(check_site(site, model.sites) for site in sites))
    for edit in edits:
        check_site(edit.site, model.sites)
    if model.anatomy.encoder is not None:
        return _whole(model, given, wanted, measure, edits=edits, read=read)
    return _Return(model, given, wanted, edits).run(measure, read)


def _whole(
    model: Model,
    inputs: Inputs,
    wanted: tuple[str, ...],
    measure: Callable[[Tensor], Tensor],
    *,
    edits: Sequence[Edit],
    read: Sequence[int] | None,
) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    # The encoder's stream starts from parameters, which have no gradients: it is told to have one.
    starts = [Edit(site, _rooted) for site in ("embed", "encoder.blocks.0.resid_pre") if site in model.sites]
    passed = run(model, inputs, sites=wanted, edits=[*starts, *edits], read=read, is_live=True)
    with torch.enable_grad():
        values = measure(passed.logits)
    found = [passed.captured[site] for site in wanted]
    taken = torch.autograd.grad(values.sum(), found, allow_unused=True, materialize_grads=True) if found else ()
    captured = {site: tensor.detach() for site, tensor in passed.captured.items()}
    return values.detach(), captured, dict(zip(wanted, taken, strict=True))


class _Return:
    """The way there, noting the stream before each block, and the way back, one block at a time."""

    def __init__(self, model: Model, inputs: Inputs, wanted: tuple[str, ...], edits: Sequence[Edit]) -> None:
        self._model, self._inputs, self._wanted, self._edits = model, inputs, frozenset(wanted), tuple(edits)
        self._captured: dict[str, Tensor] = {}
        self._gradients: dict[str, Tensor] = {}

    def run(
        self, measure: Callable[[Tensor], Tensor], read: Sequence[int] | None
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        model, blocks = self._model, self._model.anatomy.decoder.blocks
        there, back = Flow(), Flow(wanted=self._wanted, is_live=True)
        there.add(self._edits)
        back.add(self._edits)
        streams = []
        with torch.no_grad(), open_hooks(model, there):
            stream, arguments = enter(model, self._inputs, there)
            for layer, block in enumerate(blocks):
                streams.append(stream)
                stream = block_pass(block, f"blocks.{layer}", stream, arguments[layer], there)
        with torch.enable_grad(), open_hooks(model, back):
            end = stream.detach().requires_grad_()
            logits = read_out(model, end, back, read)
            values = measure(Run(logits).logits)
            slope = self._taken(values.sum(), None, end, back)
            for layer in reversed(range(len(blocks))):
                start = streams.pop().detach().requires_grad_()
                stream = block_pass(blocks[layer], f"blocks.{layer}", start, arguments[layer], back)
                slope = self._taken(stream, slope, start, back)
            if "embed" in self._wanted:
                self._through_entrance(slope)
        return values.detach(), self._captured, self._gradients

    def _through_entrance(self, slope: Tensor) -> None:
        flow = Flow(wanted=self._wanted, is_live=True)
        flow.add([Edit("embed", _rooted), *self._edits])
        with open_hooks(self._model, flow):
            stream, _ = enter(self._model, self._inputs, flow)
        self._taken(stream, slope, None, flow)

    def _taken(self, result: Tensor, slope: Tensor | None, start: Tensor | None, flow: Flow) -> Tensor:
        """Take the gradient of what a stretch gives back to its start and to the sites that it passed."""
        passed = {site: tensor for site, tensor in flow.captured.items() if tensor.requires_grad}
        still = {site: tensor for site, tensor in flow.captured.items() if not tensor.requires_grad}
        flow.captured = {}
        roots = [*passed.values(), *(() if start is None else (start,))]
        taken = torch.autograd.grad(result, roots, slope, allow_unused=True, materialize_grads=True)
        self._captured |= {site: tensor.detach().clone() for site, tensor in {**passed, **still}.items()}
        self._gradients |= dict(zip(passed, taken, strict=False))
        self._gradients |= {site: torch.zeros_like(tensor) for site, tensor in still.items()}
        return taken[-1]


def _rooted(tensor: Tensor) -> Tensor:
    return tensor if tensor.requires_grad else tensor.requires_grad_()


def head_gradients(
    branches: Branches,
    layer: int,
    stream: Float[Tensor, "batch pos d_model"],
    slope: Float[Tensor, "batch pos head d_head"],
) -> Float[Tensor, "port head batch pos d_model"]:
    """Take the gradient at the heads' results back to the stream, for each head's queries, keys and values apart.

    Each of them is taken to read a stream of its own; where heads share keys and values, too, each has its own share.

    Args:
        branches: the model's blocks.
        layer: which.
        stream: what the block read.
        slope: the gradient at `attn.z`.

    Shapes:
        returns: first axis queries, keys, values

    Cost: one attention layer; backwards its projections once for each head and port.

    """
    with torch.enable_grad():
        start = stream.detach().requires_grad_()
        made = branches.read(layer, start)
        inputs = [tensor.detach().requires_grad_() for tensor in made]
        z = branches.attend(layer, *inputs)
    n_heads, n_shared = slope.shape[2], slope.shape[2] // made[1].shape[2]
    head = torch.arange(n_heads, device=stream.device)
    result = stream.new_zeros(3, n_heads, *stream.shape)
    for turn in range(n_shared):
        # One head of each group that shares a key at a time: what arrives at the key is then that head's alone.
        chosen = (head % n_shared == turn)[:, None]
        taken = torch.autograd.grad(z, inputs, slope * chosen, retain_graph=True)
        for port, (tensor, arrived) in enumerate(zip(made, taken, strict=True)):
            for index in range(turn, n_heads, n_shared):
                alone = torch.zeros_like(arrived)
                place = index if port == 0 else index // n_shared
                alone[:, :, place] = arrived[:, :, place]
                (result[port, index],) = torch.autograd.grad(tensor, start, alone, retain_graph=True)
    return result


def mlp_gradient(
    branches: Branches,
    layer: int,
    stream: Float[Tensor, "batch pos d_model"],
    slope: Float[Tensor, "batch pos d_model"],
) -> Float[Tensor, "batch pos d_model"]:
    """Take the gradient at an MLP's output back to the stream that it alone reads.

    Args:
        branches: the model's blocks.
        layer: which.
        stream: what the MLP read.
        slope: the gradient at `mlp.out`.

    """
    with torch.enable_grad():
        start = stream.detach().requires_grad_()
        written = branches.think(layer, start)
    (result,) = torch.autograd.grad(written, start, slope)
    return result
