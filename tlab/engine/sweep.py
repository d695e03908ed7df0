"""Many edits of one prompt at once: what a sweep needs, and no more of it than can change.

Each variant of the run starts at the block of its earliest edit, from the stream that the plain run had there; variants
join one batch as it passes their block. In a causal model only the positions from the earliest edited one on are
computed: what stands before them is the plain run's, and so are its keys and values. Logits are computed only where
they are read. Refuses: meaning.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import Tensor

from tlab.anatomy.entrance import later
from tlab.engine.flow import Edit, Flow
from tlab.engine.forward import Inputs, block_pass, enter, open_hooks, read_out
from tlab.sites import check_site, layer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jaxtyping import Float

    from tlab.models import Model

__all__ = ["Sweep", "Variant"]

_BUDGET_BYTES = 512 * 2**20
# On a CPU more positions at once are no faster, since they leave its caches; readers see fewer results come in.
_POSITIONS_AT_ONCE = {"cpu": 512}
_POSITIONS_ON_A_GPU = 2**15
_TRIED_POSITIONS = 256
_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Variant:
    """One run of the sweep: the prompt with some edits.

    Args:
        edits: what is replaced; without positions, an edit concerns the whole prompt.
        read: the positions whose logits this run is to give, where they are others than the sweep's.

    """

    edits: tuple[Edit, ...]
    read: tuple[int, ...] | None = None


@dataclass(frozen=True, eq=False)
class _Base:
    """What the plain run leaves for the variants to start from."""

    streams: list[Tensor]
    arguments: list[dict[str, object]]
    past: dict[str, tuple[Tensor, Tensor]]
    logits: Tensor


class Sweep:
    """Many variants of one run, in as few and as small passes as they need.

    Args:
        model: from `load`.
        inputs: the prompt, one row.
        variants: the runs.
        read: the positions whose logits are wanted, counted from 0 or, if negative, from the end.
        budget_bytes: how much memory the activations of one pass may take.
        positions_at_once: how many positions one pass computes at most; fewer make more and shorter passes, after each
            of which the results so far are there. By default what the device computes fastest.

    """

    def __init__(
        self,
        model: Model,
        inputs: Inputs | Tensor,
        variants: Sequence[Variant],
        *,
        read: Sequence[int] = (-1,),
        budget_bytes: int = _BUDGET_BYTES,
        positions_at_once: int | None = None,
    ) -> None:
        self._model = model
        self._inputs = inputs if isinstance(inputs, Inputs) else Inputs(inputs if inputs.dim() > 1 else inputs[None])
        self._n_pos = self._inputs.ids.shape[1]
        self._read = [position % self._n_pos for position in read]
        self._budget_bytes = budget_bytes
        usual = _POSITIONS_AT_ONCE.get(model.device.type, _POSITIONS_ON_A_GPU)
        self._positions_at_once = usual if positions_at_once is None else positions_at_once
        self._variants = tuple(variants)
        self._stack = model.anatomy.decoder
        known = model.sites
        for variant in self._variants:
            for edit in variant.edits:
                check_site(edit.site, known)
        self._can_start_late = self._stack.is_causal and all(block.attn.can_start_late for block in self._stack.blocks)
        self._starts = [
            (self._first_position(index), self._first_layer(variant)) for index, variant in enumerate(self._variants)
        ]
        self._base = self._plain_run()

    @property
    def base_logits(self) -> Float[Tensor, "read d_vocab"]:
        """The plain run's logits at the read positions."""
        return self._base.logits

    @property
    def n_variants(self) -> int:
        """How many runs there are."""
        return len(self._variants)

    @property
    def work(self) -> float:
        """How much of a plain run all variants together compute: 100.0 is a hundred times its positions and blocks."""
        n_layers = len(self._stack.blocks)
        return sum((self._n_pos - start) / self._n_pos * (n_layers - layer) / n_layers for start, layer in self._starts)

    @cached_property
    def estimated_s(self) -> float:
        """How long the sweep will take, from the pace at which one block takes a batch of typical size.

        Cost: that one block, about a hundredth of a second.
        """
        layer, n_layers = len(self._stack.blocks) // 2, len(self._stack.blocks)
        rows = max(1, _TRIED_POSITIONS // self._n_pos)
        stream, arguments = self._base.streams[layer].expand(rows, -1, -1), self._base.arguments[layer]
        began = time.perf_counter()
        with torch.no_grad():
            block_pass(self._stack.blocks[layer], f"blocks.{layer}", stream, arguments, Flow())
        pace = (time.perf_counter() - began) / (rows * self._n_pos)
        return pace * sum((self._n_pos - start) * (n_layers - first) for start, first in self._starts)

    def run(self, measure: Callable[[Tensor], _T]) -> Iterator[tuple[list[int], _T]]:
        """Run all variants; yield, pass by pass, which they were and what `measure` made of their logits.

        Variants of one pass that are read at different positions are yielded one group after the other.

        Args:
            measure: from `batch read d_vocab` to what is kept of it.

        """
        for start, members in self._passes():
            with torch.no_grad():
                found = [(some, measure(logits)) for some, logits in self._one_pass(start, members)]
            yield from found

    def _reads(self, index: int) -> tuple[int, ...]:
        read = self._variants[index].read
        return tuple(self._read) if read is None else tuple(position % self._n_pos for position in read)

    def _first_layer(self, variant: Variant) -> int:
        if any(edit.site.startswith("encoder.") or edit.site == "embed" for edit in variant.edits):
            raise ValueError("a sweep edits the decoder's blocks only")
        layers = [layer_of(edit.site) for edit in variant.edits]
        return min((layer for layer in layers if layer is not None), default=len(self._stack.blocks) - 1)

    def _first_position(self, index: int) -> int:
        if not self._can_start_late:
            return 0
        firsts = [0 if edit.positions is None else min(edit.positions) for edit in self._variants[index].edits]
        # What is read must be computed.
        return min([*firsts, *self._reads(index)])

    def _plain_run(self) -> _Base:
        model, flow = self._model, Flow(keeps_past=True)
        streams = []
        with torch.no_grad(), open_hooks(model, flow):
            stream, arguments = enter(model, self._inputs, flow)
            for layer, block in enumerate(self._stack.blocks):
                streams.append(stream)
                stream = block_pass(block, f"blocks.{layer}", stream, arguments[layer], flow)
            logits = read_out(model, stream, flow, self._read)
        return _Base(streams, arguments, flow.kept, _known(model, logits)[0])

    def _passes(self) -> Iterator[tuple[int, list[int]]]:
        """Group the variants by first position; within a group in order of layers, as many at once as memory allows."""
        order = sorted(range(len(self._variants)), key=lambda index: self._starts[index])
        for start, group in itertools.groupby(order, key=lambda index: self._starts[index][0]):
            members = list(group)
            n_pos, n_read = self._n_pos - start, max(len(self._reads(index)) for index in members)
            rows = min(self._budget_bytes // self._row_bytes(n_pos, n_read), self._positions_at_once // n_pos)
            at_once = max(1, rows)
            for first in range(0, len(members), at_once):
                yield start, members[first : first + at_once]

    def _row_bytes(self, n_pos: int, n_read: int) -> int:
        """Estimate what one row of a pass keeps at its widest moment."""
        model = self._model
        width = 8 * model.d_model + 4 * (model.d_mlp or 4 * model.d_model) + 3 * model.n_heads * self._n_pos
        return model.dtype.itemsize * (n_pos * width + 2 * n_read * model.d_vocab)

    def _one_pass(self, start: int, members: list[int]) -> list[tuple[list[int], Tensor]]:
        model, base = self._model, self._base
        flow = Flow(start=start)
        if start:
            flow.past = {prefix: (k[:, :, :start], v[:, :, :start]) for prefix, (k, v) in base.past.items()}
        for row, index in enumerate(members):
            flow.add(self._variants[index].edits, row)
        joining = [self._starts[index][1] for index in members]
        stream = base.streams[joining[0]][:0, start:]
        with open_hooks(model, flow):
            for layer in range(joining[0], len(self._stack.blocks)):
                n_new = joining.count(layer)
                if n_new:
                    fresh = base.streams[layer][:, start:].expand(n_new, -1, -1)
                    stream = torch.cat([stream, fresh])
                arguments = later(base.arguments[layer], start) if start else base.arguments[layer]
                stream = block_pass(self._stack.blocks[layer], f"blocks.{layer}", stream, arguments, flow)
            return self._read_out(stream, flow, members, start)

    def _read_out(
        self, stream: Tensor, flow: Flow, members: list[int], start: int
    ) -> list[tuple[list[int], Float[Tensor, "batch read d_vocab"]]]:
        """Return the logits of a pass, in groups of rows that are read at the same positions."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for row, index in enumerate(members):
            groups.setdefault(tuple(position - start for position in self._reads(index)), []).append(row)
        if len(groups) == 1:
            return [(members, _known(self._model, read_out(self._model, stream, flow, list(*groups))))]
        # One product for all that is read: the unembedding is too large to be fetched for each group. No edit of a
        # sweep lies behind the blocks, so that rows and positions may be mixed here.
        picked = torch.cat([stream[rows][:, list(read)].flatten(0, 1) for read, rows in groups.items()])
        logits = _known(self._model, read_out(self._model, picked[None], flow))[0]
        found = []
        for read, rows in groups.items():
            own, logits = logits[: len(rows) * len(read)], logits[len(rows) * len(read) :]
            found.append(([members[row] for row in rows], own.view(len(rows), len(read), -1)))
        return found


def _known(model: Model, logits: Tensor | None) -> Tensor:
    model.check_predicts()
    return cast("Tensor", logits)
