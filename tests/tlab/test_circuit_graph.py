"""The graph of a circuit: which edges can be, how a circuit grows, and what pruning and exchanging leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tlab.circuits.graph import Graph, graph_of, node_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from tlab import Model


def _random_edges(graph: Graph, seed: int, density: float) -> Tensor:
    dice = torch.Generator().manual_seed(seed)
    return graph.possible & (torch.rand(graph.possible.shape, generator=dice) < density)


def _named(graph: Graph, edges: Tensor) -> set[tuple[str, str]]:
    return {(graph.writers[writer], graph.readers[reader]) for writer, reader in edges.nonzero().tolist()}


def test_only_what_stands_behind_a_writer_can_read_it(dissected: Callable[..., Model]) -> None:
    graph, parallel = graph_of(dissected("llama-grouped")), graph_of(dissected("cohere"))
    edges, others = _named(graph, graph.possible), _named(parallel, parallel.possible)
    assert ("L1H2", "L1.mlp") in edges
    assert ("L1H2", "L1.mlp") not in others
    for found in (edges, others):
        assert {("embed", "L0H0.q"), ("embed", "logits"), ("L0.mlp", "L1H3.v"), ("L2H0", "logits")} <= found
        assert not {("L1H2", "L1H2.q"), ("L1.mlp", "L1H0.k"), ("L2H0", "L1.mlp")} & found
    assert graph.n_edges - parallel.n_edges == 3 * 4
    assert [node_of(reader) for reader in ("L1H2.q", "L1.mlp", "logits")] == ["L1H2", "L1.mlp", "logits"]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), n_edges=st.integers(1, 300))
def test_a_grown_circuit_leads_from_the_embedding_to_the_logits(seed: int, n_edges: int) -> None:
    graph = _GRAPH
    scores = torch.randn(graph.possible.shape, generator=torch.Generator().manual_seed(seed))
    edges = graph.grown(scores, n_edges)
    assert int(edges.sum()) <= n_edges
    assert torch.equal(edges, _grown_plainly(graph, scores, n_edges))
    assert torch.equal(graph.pruned(edges), edges)
    assert not bool((edges & ~graph.possible).any())
    larger = graph.grown(scores, n_edges + 40)
    assert not bool((edges & ~larger).any())
    assert torch.equal(graph.grown(-scores, n_edges), edges)
    exchanged = graph.exchanged(edges, torch.Generator().manual_seed(seed))
    assert int(exchanged.sum()) == int(edges.sum())
    assert torch.equal(graph.pruned(exchanged), exchanged)
    # With two heads in a layer there is but one other way.
    assert torch.equal(graph.exchanged(exchanged, torch.Generator().manual_seed(seed)), edges)
    heads = {node for node in graph.nodes(edges) if "H" in node}
    assert {f"{node[:-1]}{1 - int(node[-1])}" for node in heads} == {n for n in graph.nodes(exchanged) if "H" in n}


def _grown_plainly(graph: Graph, scores: Tensor, n_edges: int) -> Tensor:
    """Look through all edges each time for the largest that leads into what is there."""
    taken, kept = torch.zeros_like(graph.possible), torch.zeros_like(graph.possible)
    while int(kept.sum()) < n_edges:
        there = set(graph.nodes(taken)) | {"logits"}
        into = torch.tensor([node_of(reader) in there for reader in graph.readers])
        sizes = torch.where(graph.possible & into & ~taken, scores.abs(), -1.0)
        if float(sizes.max()) < 0:
            break
        taken.view(-1)[int(sizes.argmax())] = True
        counted = taken & graph.alive(taken)[:, None]
        if int(counted.sum()) > n_edges:
            break
        kept = counted
    return kept


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), density=st.floats(0.02, 0.6))
def test_pruning_takes_only_edges_that_lie_on_no_way(seed: int, density: float) -> None:
    graph = _GRAPH
    edges = _random_edges(graph, seed, density)
    kept = graph.pruned(edges)
    assert torch.equal(graph.pruned(kept), kept)
    assert not bool((kept & ~edges).any())
    names = _named(graph, edges)
    for writer, reader in names:
        on_a_way = _reaches(names, "embed", writer) and (
            reader == "logits" or _reaches(names, node_of(reader), "logits")
        )
        assert ((writer, reader) in _named(graph, kept)) == on_a_way
    removed = graph.nodes(edges)[:2]
    assert not set(graph.nodes(graph.without(edges, removed))) & set(removed)


def _reaches(names: set[tuple[str, str]], start: str, end: str) -> bool:
    there, waiting = {start}, [start]
    while waiting:
        one = waiting.pop()
        more = {node_of(reader) for writer, reader in names if writer == one} - there
        there |= more
        waiting += more
    return end in there


def _small_graph() -> Graph:
    writers, readers, written, read = ["embed"], [], [-1], []
    for layer in range(2):
        for head in range(2):
            writers.append(f"L{layer}H{head}")
            written.append(2 * layer)
            readers += [f"L{layer}H{head}.{port}" for port in "qkv"]
            read += [2 * layer] * 3
        writers.append(f"L{layer}.mlp")
        written.append(2 * layer + 1)
        readers.append(f"L{layer}.mlp")
        read.append(2 * layer + 1)
    possible = torch.tensor(written)[:, None] < torch.tensor([*read, 4])
    return Graph(tuple(writers), (*readers, "logits"), possible)


_GRAPH = _small_graph()
