"""The graph of a model: who writes to the stream, who reads it, and which edges can be.

Also growing a circuit from scores of edges. Refuses: running the model.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from tlab.experiments.paths import PORTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jaxtyping import Bool, Float
    from torch import Tensor

    from tlab.models import Model

__all__ = ["Graph", "graph_of", "node_of"]

_EMBED, _LOGITS = "embed", "logits"


@dataclass(frozen=True, eq=False)
class Graph:
    """Writers, readers, and the edges between them.

    A head is one writer and three readers, since its queries, keys and values may read different things.

    Args:
        writers: `embed`, then layer by layer the heads (`L3H4`) and the MLP (`L3.mlp`).
        readers: layer by layer the heads' inputs (`L3H4.q`) and the MLP, then `logits`.
        possible: which reader stands behind which writer.

    """

    writers: tuple[str, ...]
    readers: tuple[str, ...]
    possible: Bool[Tensor, "writer reader"]

    @property
    def n_edges(self) -> int:
        """How many edges the whole model has."""
        return int(self.possible.sum())

    @cached_property
    def writer_of(self) -> tuple[int, ...]:
        """For each reader the index of the writer that it is an input of; -1 for the logits."""
        index = {name: place for place, name in enumerate(self.writers)}
        return tuple(index.get(node_of(reader), -1) for reader in self.readers)

    @cached_property
    def readers_of(self) -> tuple[tuple[int, ...], ...]:
        """For each writer the indices of its inputs; none for the embedding."""
        found: list[list[int]] = [[] for _ in self.writers]
        for place, writer in enumerate(self.writer_of):
            if writer >= 0:
                found[writer].append(place)
        return tuple(map(tuple, found))

    def alive(self, edges: Bool[Tensor, "writer reader"]) -> Bool[Tensor, " writer"]:
        """Return which writers are reached from the embedding; the others say what they say in the corrupted run."""
        found = torch.zeros(len(self.writers), dtype=torch.bool)
        found[0] = True
        for writer in range(1, len(self.writers)):
            # Writers stand in the order in which they write, so that all that a reader can read is known by then.
            found[writer] = bool((edges[:, list(self.readers_of[writer])] & found[:, None]).any())
        return found

    def pruned(self, edges: Bool[Tensor, "writer reader"]) -> Bool[Tensor, "writer reader"]:
        """Return the edges that lie on a way from the embedding to the logits."""
        kept = edges & self.possible & self.alive(edges)[:, None]
        is_heard = torch.zeros(len(self.writers), dtype=torch.bool)
        for writer in reversed(range(len(self.writers))):
            hears = torch.tensor([place < 0 or bool(is_heard[place]) for place in self.writer_of])
            is_heard[writer] = bool((kept[writer] & hears).any())
        hears = torch.tensor([place < 0 or bool(is_heard[place]) for place in self.writer_of])
        return kept & hears

    def without(self, edges: Bool[Tensor, "writer reader"], nodes: Iterable[str]) -> Bool[Tensor, "writer reader"]:
        """Return the edges that touch none of the nodes."""
        gone = set(nodes)
        writers = torch.tensor([name not in gone for name in self.writers])
        readers = torch.tensor([node_of(name) not in gone for name in self.readers])
        return edges & writers[:, None] & readers

    def nodes(self, edges: Bool[Tensor, "writer reader"]) -> tuple[str, ...]:
        """Return the heads and MLPs that have an edge, in order."""
        ends = edges.any(1)
        for place, writer in enumerate(self.writer_of):
            if writer >= 0 and bool(edges[:, place].any()):
                ends[writer] = True
        return tuple(name for name, has in zip(self.writers, ends.tolist(), strict=True) if has and name != _EMBED)

    def exchanged(self, edges: Bool[Tensor, "writer reader"], generator: torch.Generator) -> Tensor:
        """Return the same wiring between other parts: each head takes the place of a random other one of its layer.

        Shapes:
            returns: `writer reader`

        """
        layers: dict[str, list[int]] = {}
        for place, name in enumerate(self.writers):
            if "H" in name:
                layers.setdefault(name.partition("H")[0], []).append(place)
        writers, readers = list(range(len(self.writers))), list(range(len(self.readers)))
        for heads in layers.values():
            # Round in a circle, so that none keeps its place.
            order = [heads[one] for one in torch.randperm(len(heads), generator=generator).tolist()]
            for place, other in zip(order, [*order[1:], order[0]], strict=True):
                writers[place] = other
                for mine, theirs in zip(self.readers_of[place], self.readers_of[other], strict=True):
                    readers[mine] = theirs
        return edges[writers][:, readers]

    def grown(self, scores: Float[Tensor, "writer reader"], n_edges: int) -> Bool[Tensor, "writer reader"]:
        """Grow a circuit backwards from the logits, taking the edge of the largest score each time.

        Only edges into what is already there can be taken. An edge counts, and is kept, once its writer is reached
        from the embedding; growing ends before more than `n_edges` count.
        """
        return _Growth(self, scores).to(n_edges)


class _Growth:
    """A circuit on its way: what was taken, what is reached from the embedding, and what can be taken next."""

    def __init__(self, graph: Graph, scores: Tensor) -> None:
        self._graph = graph
        self._sizes = scores.abs().double()
        self._open: list[tuple[float, int, int]] = []
        self._taken: list[list[int]] = [[] for _ in graph.writers]
        self._alive = {0}
        self._there: set[int] = set()
        self._offer(len(graph.readers) - 1)

    def to(self, n_edges: int) -> Tensor:
        n_counted = 0
        while self._open and n_counted < n_edges:
            _, writer, reader = heapq.heappop(self._open)
            woken = self._woken(writer, reader)
            n_new = sum(len(self._taken[one]) for one in woken) + (writer in self._alive or writer in woken)
            if n_counted + n_new > n_edges:
                break
            n_counted += n_new
            self._alive |= woken
            self._taken[writer].append(reader)
            if writer not in self._there:
                self._there.add(writer)
                for place in self._graph.readers_of[writer]:
                    self._offer(place)
        edges = torch.zeros_like(self._graph.possible)
        for writer in self._alive:
            edges[writer, self._taken[writer]] = True
        return edges

    def _offer(self, reader: int) -> None:
        sizes = self._sizes[:, reader].tolist()
        for writer in self._graph.possible[:, reader].nonzero()[:, 0].tolist():
            heapq.heappush(self._open, (-sizes[writer], writer, reader))

    def _woken(self, writer: int, reader: int) -> set[int]:
        """Return the writers that the embedding reaches once this edge is there, and did not before."""
        found: set[int] = set()
        waiting = [self._graph.writer_of[reader]] if writer in self._alive else []
        while waiting:
            one = waiting.pop()
            if one < 0 or one in self._alive or one in found:
                continue
            found.add(one)
            waiting += [self._graph.writer_of[place] for place in self._taken[one]]
        return found


def node_of(reader: str) -> str:
    """Return the node that an input belongs to: `L3H4` for `L3H4.q`."""
    return reader.rpartition(".")[0] if reader[-2:] in {f".{port}" for port in PORTS} else reader


def graph_of(model: Model) -> Graph:
    """Return the graph of a model."""
    writers, written = [_EMBED], [-1]
    readers: list[str] = []
    read: list[int] = []
    for layer, block in enumerate(model.anatomy.decoder.blocks):
        heads = [f"L{layer}H{head}" for head in range(model.n_heads)]
        writers += heads
        written += [2 * layer] * len(heads)
        ports = [f"{head}.{port}" for head in heads for port in PORTS]
        readers += ports
        read += [2 * layer] * len(ports)
        if block.mlp is not None:
            writers.append(f"L{layer}.mlp")
            written.append(2 * layer + 1)
            readers.append(f"L{layer}.mlp")
            read.append(2 * layer if block.is_parallel else 2 * layer + 1)
    readers.append(_LOGITS)
    read.append(2 * model.n_layers)
    possible = torch.tensor(written)[:, None] < torch.tensor(read)
    return Graph(tuple(writers), tuple(readers), possible)
