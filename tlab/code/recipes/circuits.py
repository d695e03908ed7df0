"""Programs about circuits: finding the edges that carry a behaviour, and measuring how good the find is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlab.code.dialects.dialect import indented
from tlab.code.recipes.pairs import followed, pairs_of, prompts
from tlab.code.recipes.pieces import printed
from tlab.code.recipes.recipe import Recipe
from tlab.code.recipes.streams import heads, reading, running
from tlab.code.recipes.wiring import (
    edges_of,
    exchanging,
    fitting,
    graph,
    growing,
    leaving_out,
    listed,
    pruning,
)
from tlab.code.script import Chunk
from tlab.errors import UnknownOption, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlab.code.dialects.dialect import Dialect
    from tlab.code.request import Request

__all__ = ["RECIPES"]

_N_EDGES, _STEPS = 500, 5
_FARTHEST = 1_000_000_000
_MOST = 1001
_SIZES = (10, 30, 100, 300, 1000, 3000, 10000)
_SEEDS = 2**63
_ENDS = (
    "clean_value, corrupted_value = (",
    '    torch.stack([metric(run["logits"], pair) for pair, run in enumerate(runs)])',
    "    for runs in (clean_runs, corrupted_runs)",
    ")",
)
_SIZE = "size = (clean_value.mean() - corrupted_value.mean()).abs()"


def _discover(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: the edges with the largest scores, each what cutting it is estimated to cost."""
    paired, n_pairs = prompts(ask.value("clean"), ask.value("corrupted"), say)
    steps = ask.whole("steps", _STEPS, least=1, below=_FARTHEST)
    if ask.has("threshold"):
        chosen, choosing = f"pruned(scores.abs() >= {ask.real('threshold', 0.0)!r})", pruning()
    else:
        chosen, choosing = f"grown(scores, {ask.whole('n_edges', _N_EDGES, least=1, below=_FARTHEST)})", growing()
    points = ["points = [1.0]  # in the clean run"]
    if steps > 1:
        points = [f"points = [(step + 0.5) / {steps} for step in range({steps})]  # on the way to the clean run"]
    return [
        paired,
        reading(say, has_streams=False),
        followed(ask.value("metric"), n_pairs, say),
        graph(say.layout, has_owners=True, has_order=True),
        *heads(say),
        *_sloping(say),
        Chunk(
            "An edge's score: its writer's change times the slope at its reader, the mean over pairs and points.",
            [
                *points,
                "scores = torch.zeros(len(writers), len(readers), dtype=torch.float64)",
                "for pair in range(len(clean)):",
                "    for point in points:",
                '        start = corrupted_runs[pair]["embedded"] + point * changed(pair)[0]',
                "        scores += (changed(pair).flatten(1) @ slopes(start, pair).flatten(1).T).double()",
                "scores = (scores / len(points) / len(clean) * possible).float()",
            ],
        ),
        *choosing,
        Chunk(
            "The circuit. Its scores stand in the table in the order of writers and readers.",
            [
                f"edges = {chosen}",
                "table = scores[edges]",
                'print(f"{int(edges.sum())} of {int(possible.sum())} edges; the strongest:")',
                "named = zip(edges.nonzero().tolist(), table.tolist())",
                "for (writer, reader), score in sorted(named, key=lambda edge: -abs(edge[1]))[:10]:",
                '    print(f"{writers[writer]} -> {readers[reader]}: {score:+.4f}")',
            ],
        ),
        printed("max(table.tolist(), key=abs, default=0.0)", "The largest score, for or against the answer."),
    ]


def _sloping(say: Dialect) -> list[Chunk]:
    """Return functions for what writers say otherwise, and for the slope at what readers read."""
    return [
        Chunk(
            "What each writer says in the clean run less what it says in the corrupted one: [writer pos d_model].",
            [
                "def changed(pair):",
                "    clean_run, corrupted_run = clean_runs[pair], corrupted_runs[pair]",
                '    changes = [clean_run["embedded"] - corrupted_run["embedded"]]',
                "    for layer in range(n_layers):",
                '        found = clean_run["zs"][layer] - corrupted_run["zs"][layer]',
                '        changes += torch.einsum("phe,hed->hpd", found, writing[layer])',
                '        changes.append(clean_run["mlps"][layer] - corrupted_run["mlps"][layer])',
                "    return torch.stack(changes)",
            ],
        ),
        Chunk(
            "How the metric changes with what each reader reads, [reader pos d_model], in a run from an embedding on.\n"
            "Queries, keys and values of every head and every MLP read copies of the stream: each has its own slope.",
            [
                "def slopes(start, pair):",
                "    stream, reads = start.clone().requires_grad_(), []",
                "    for layer in range(n_layers):",
                "        copies = stream.expand(n_heads, 3, -1, -1).clone()",
                "        reads.append(copies)",
                '        stream = stream + torch.einsum("phe,hed->pd", attend(layer, copies), writing[layer])',
                *([f"        stream = stream + {bias}"] if (bias := say.attention_bias("layer")) else []),
                "        copy = stream.clone()",
                "        reads.append(copy)",
                *indented(say.thought("said", "layer", "copy[None]"), 2),
                "        stream = stream + said[0]",
                "    reads.append(stream)",
                f"    logits = {say.unembedding()}({say.final_norm()}(stream[None]))[0]",
                "    grads = torch.autograd.grad(metric(logits, pair), reads)",
                "    return torch.cat([grad.reshape(-1, *stream.shape) for grad in grads])",
            ],
        ),
    ]


def _opening(
    ask: Request, say: Dialect, circuit: object, *, has_owners: bool = True, has_order: bool = False
) -> list[Chunk]:
    """Write what every program that runs a circuit starts with."""
    fitting(circuit, say.layout)
    clean, corrupted, metric = pairs_of(ask, circuit)
    paired, n_pairs = prompts(clean, corrupted, say)
    return [
        paired,
        reading(say, has_streams=True),
        followed(metric, n_pairs, say),
        graph(say.layout, has_owners=has_owners, has_order=has_order),
        *heads(say),
        *running(say),
    ]


def _literal(edges: Sequence[tuple[str, str]]) -> Chunk:
    """Return the circuit's edges, and how they stand in a table."""
    return Chunk(
        "The circuit: each reader, and the writers that it has an edge from.",
        [
            "circuit = {",
            *indented(listed(edges)),
            "}",
            "edges = torch.zeros(len(writers), len(readers), dtype=torch.bool)",
            "for reader, heard in circuit.items():",
            "    for writer in heard.split():",
            "        edges[writers.index(writer), readers.index(reader)] = True",
        ],
    )


def _faithfulness(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: how much of the difference between the runs a circuit recovers."""
    circuit = ask.value("circuit")
    return [
        *_opening(ask, say, circuit, has_owners=False),
        _literal(edges_of(circuit, say.layout)),
        Chunk(
            "For each pair the metric in the clean run, in the corrupted run, and with the circuit alone.",
            [*_ENDS, "table = torch.stack([clean_value, corrupted_value, measured(edges)], dim=1)", "print(table)"],
        ),
        Chunk(
            "How much of the difference between the runs the circuit recovers: 0 nothing, 1 all of it.",
            ["whole, nothing, alone = table.mean(0)"],
        ),
        printed("float((alone - nothing) / (whole - nothing))"),
    ]


def _faithfulness_curve(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: the same for circuits of growing size, and for random ones."""
    circuit = ask.value("circuit")
    n_controls = ask.whole("controls", 1, least=0, below=_MOST)
    seed = ask.whole("seed", 0, least=-_SEEDS, below=_SEEDS)
    opening = _opening(ask, say, circuit, has_owners=n_controls > 0, has_order=n_controls > 0)
    return [
        *opening,
        *([*growing(), exchanging()] if n_controls else []),
        *_grown_literals(ask, say, circuit),
        *(_controls(n_controls, seed) if n_controls else []),
        Chunk(
            "Of every circuit: its size, its metric, and how much of the difference between the runs it recovers.",
            [
                *_ENDS,
                "whole, nothing = clean_value.mean(), corrupted_value.mean()",
                "rows = []",
                "for edges in circuits:",
                "    value = measured(edges).mean()",
                "    rows.append([int(edges.sum()), float(value), float((value - nothing) / (whole - nothing))])",
                "    print(rows[-1])",
                "table = torch.tensor(rows)",
            ],
        ),
        printed("float(table[n_sizes - 1, 2])", "What the last of the circuits by score recovers."),
    ]


def _grown_literals(ask: Request, say: Dialect, circuit: Any) -> list[Chunk]:  # noqa: ANN401  it was checked
    """Return circuits of growing size: since each holds those before it, only what it adds."""
    of_size, n_possible = circuit.of_size, int(circuit.possible.sum())
    given = ask.wholes("n_edges", _SIZES, least=1, below=_FARTHEST)
    sizes = list(dict.fromkeys(min(size, n_possible) for size in given))
    if not sizes:
        raise UnknownOption(f"n_edges refused: expected one or several sizes, got {shown(given)}; try (10, 100)")
    before: set[tuple[str, str]] = set()
    entries: list[str] = []
    for size in sorted(sizes):
        edges = edges_of(of_size(size), say.layout, on_a_curve=True)
        entries += [f"{size}: {{", *indented(listed([edge for edge in edges if edge not in before])), "},"]
        before = set(edges)
    return [
        Chunk(
            "Circuits of growing size by the same scores: the edges that each adds to the one before,\n"
            "each reader with the writers that it has an edge from.",
            [
                "added = {",
                *indented(entries),
                "}",
                "edges, by_size = torch.zeros(len(writers), len(readers), dtype=torch.bool), {}",
                "for size, circuit in added.items():",
                "    for reader, heard in circuit.items():",
                "        for writer in heard.split():",
                "            edges[writers.index(writer), readers.index(reader)] = True",
                "    by_size[size] = edges.clone()",
                f"circuits = [by_size[size] for size in {sizes}]",
                "n_sizes = len(circuits)",
            ],
        )
    ]


def _controls(n_controls: int, seed: int) -> list[Chunk]:
    return [
        Chunk(
            "Beside each: circuits of the same size grown by random scores, and the same wiring with other heads.",
            [
                "for edges in circuits.copy():",
                f"    dice = torch.Generator().manual_seed({seed})",
                f"    for _ in range({n_controls}):",
                "        random = torch.rand(possible.shape, generator=dice)",
                "        circuits += [grown(random, int(edges.sum())), exchanged(edges)]",
            ],
        )
    ]


def _drawing(seed: int) -> list[Chunk]:
    """Return the circuit's nodes, and a function that draws some."""
    return [
        Chunk(
            "The heads and MLPs of the circuit, and random sets of them: of few as often as of many.",
            [
                "has_edge = edges.any(1)",
                "has_edge[owners[edges.any(0)[:-1]]] = True",
                "nodes = [name for name, has in zip(writers, has_edge) if has and name != 'embed']",
                f"dice = torch.Generator().manual_seed({seed})",
                "",
                "def drawn(nodes):",
                "    if not nodes:",
                "        return []",
                "    size = round(len(nodes) ** float(torch.rand((), generator=dice)))",
                "    chosen = set(torch.randperm(len(nodes), generator=dice)[:size].tolist())",
                "    return [node for place, node in enumerate(nodes) if place in chosen]",
            ],
        )
    ]


def _completeness(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: circuit and model without the same nodes."""
    circuit = ask.value("circuit")
    n_samples = ask.whole("n_samples", 8, least=0, below=_MOST)
    return [
        *_opening(ask, say, circuit, has_order=True),
        leaving_out(),
        _literal(edges_of(circuit, say.layout)),
        *_drawing(ask.whole("seed", 0, least=-_SEEDS, below=_SEEDS)),
        Chunk(
            "The same nodes removed from the circuit and from the whole model: none, random ones, all.\n"
            "A row has the number of nodes, the metric of circuit and model, and the gap between them.",
            [
                "rows = []",
                f"for removed in [[], *(drawn(nodes) for _ in range({n_samples})), nodes]:",
                "    here = float(measured(without(edges, removed)).mean())",
                "    there = float(measured(without(possible, removed)).mean())",
                "    rows.append([len(removed), here, there, here - there])",
                "    print(rows[-1])",
                "table = torch.tensor(rows)",
            ],
        ),
        Chunk("The largest gap, as a share of the difference between the runs.", [*_ENDS, _SIZE]),
        printed("float(table[:, 3].abs().max() / size)"),
    ]


def _minimality(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: what removing each node changes, alone and beside others."""
    circuit = ask.value("circuit")
    n_samples = ask.whole("n_samples", 1, least=0, below=_MOST)
    return [
        *_opening(ask, say, circuit),
        leaving_out(),
        _literal(edges_of(circuit, say.layout)),
        *_drawing(ask.whole("seed", 0, least=-_SEEDS, below=_SEEDS)),
        Chunk(
            "How much the metric changes when a node is removed, at most: alone, or after random others.",
            [
                "def change(edges, node):",
                "    values = measured(without(edges, [node])), measured(edges)",
                "    return abs(float(values[0].mean() - values[1].mean()))",
                "",
                "found = {}",
                "for node in nodes:",
                "    found[node] = change(edges, node)",
                f"    for _ in range({n_samples}):",
                "        others = drawn([other for other in nodes if other != node])",
                "        found[node] = max(found[node], change(without(edges, others), node))",
            ],
        ),
        Chunk(
            "The largest change first, and what share it is of the difference between the runs.",
            [
                *_ENDS,
                _SIZE,
                "found = sorted(found.items(), key=lambda one: -one[1])",
                "for node, value in found:",
                '    print(f"{node}: {value:.4f}, {value / float(size):.1%}")',
                "table = torch.tensor([[value, value / float(size)] for _, value in found])",
            ],
        ),
        printed("float(table[0, 0])", "The change that the most needed node makes."),
    ]


_MEASURED = frozenset({"circuit", "clean", "corrupted", "metric"})

RECIPES = {
    "circuits.completeness": Recipe(_completeness, takes=_MEASURED | {"n_samples", "seed"}),
    "circuits.discover": Recipe(
        _discover, takes=frozenset({"clean", "corrupted", "metric", "n_edges", "threshold", "steps"})
    ),
    "circuits.faithfulness": Recipe(_faithfulness, takes=_MEASURED, beside=frozenset({"controls", "seed"})),
    "circuits.faithfulness_curve": Recipe(_faithfulness_curve, takes=_MEASURED | {"n_edges", "controls", "seed"}),
    "circuits.minimality": Recipe(_minimality, takes=_MEASURED | {"n_samples", "seed"}, beside=frozenset({"controls"})),
}
