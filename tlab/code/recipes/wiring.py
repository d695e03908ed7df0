"""Pieces of the programs about circuits: a model's graph, its edges by name, and growing, pruning and rewiring them.

Refuses: running the model, and listing more edges than anybody reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlab.code.dialects.dialect import WIDEST_LINE, indented
from tlab.code.script import Chunk
from tlab.errors import UnknownOption, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlab.code.layout import Layout

__all__ = [
    "edges_of",
    "exchanging",
    "fitting",
    "graph",
    "growing",
    "leaving_out",
    "listed",
    "pruning",
]

# More names than this nobody reads in a program; a curve may list as many as its largest circuit has by default.
_MOST_EDGES, _MOST_ON_A_CURVE = 4000, 10_000


def graph(layout: Layout, *, has_owners: bool, has_order: bool) -> Chunk:
    """Return the names of the writers and the readers.

    Args:
        layout: the model's names and sizes.
        has_owners: whether the program asks which writer a reader is an input of.
        has_order: whether it asks which edges there can be.

    """
    owned = ["        owners += 3 * [len(writers)]"] if has_owners else []
    ordered = [
        "    written_at += n_heads * [2 * layer] + [2 * layer + 1]",
        "    read_at += 3 * n_heads * [2 * layer] + [2 * layer + 1]",
    ]
    says = "Who writes to the stream and who reads it. A head is one writer and three readers."
    if has_owners:
        says += "\nOf each reader but the logits: the place of the writer whose input it is."
    if has_order:
        says += "\nAn edge leads to a reader that stands behind the writer."
    return Chunk(
        says,
        [
            f"n_layers, n_heads = {layout.n_layers}, {layout.n_heads}",
            'writers, readers = ["embed"], []',
            *(["owners = []"] if has_owners else []),
            *(["written_at, read_at = [-1], []"] if has_order else []),
            "for layer in range(n_layers):",
            "    for head in range(n_heads):",
            *owned,
            '        writers.append(f"L{layer}H{head}")',
            '        readers += [f"L{layer}H{head}.{port}" for port in "qkv"]',
            *(["    owners.append(len(writers))"] if has_owners else []),
            '    writers.append(f"L{layer}.mlp")',
            '    readers.append(f"L{layer}.mlp")',
            *(ordered if has_order else []),
            'readers.append("logits")',
            *(["owners = torch.tensor(owners)"] if has_owners else []),
            *(
                ["possible = torch.tensor(written_at)[:, None] < torch.tensor([*read_at, 2 * n_layers])"]
                if has_order
                else []
            ),
        ],
    )


def _names(layout: Layout) -> tuple[list[str], list[str]]:
    """Return the names of the writers and the readers, in the order that the program has them in."""
    writers, readers = ["embed"], []
    for layer in range(layout.n_layers):
        for head in range(layout.n_heads):
            writers.append(f"L{layer}H{head}")
            readers += [f"L{layer}H{head}.{port}" for port in "qkv"]
        writers.append(f"L{layer}.mlp")
        readers.append(f"L{layer}.mlp")
    return writers, [*readers, "logits"]


def fitting(circuit: object, layout: Layout) -> Any:  # noqa: ANN401  a tensor; nothing here imports torch
    """Return the table of a circuit's edges, `writer reader`.

    Raises:
        UnknownOption: it is no circuit of this model's graph.

    """
    writers, readers = _names(layout)
    edges = getattr(circuit, "edges", None)
    has_all = all(hasattr(circuit, name) for name in ("possible", "of_size", "clean", "corrupted", "metrics"))
    if not has_all or tuple(getattr(edges, "shape", ())) != (len(writers), len(readers)):
        raise UnknownOption(
            f"circuit refused: expected one from tlab.circuits.discover with {len(writers)} writers and "
            f"{len(readers)} readers, got {shown(type(circuit).__name__)}; take one that was found in this model"
        )
    return edges


def edges_of(circuit: object, layout: Layout, *, on_a_curve: bool = False) -> list[tuple[str, str]]:
    """Return the edges of a circuit by name, reader by reader.

    Args:
        circuit: from `discover`.
        layout: the model's names and sizes.
        on_a_curve: whether it is one of several sizes.

    Raises:
        UnknownOption: it is none of this model's, or has more edges than a program can list.

    """
    edges = fitting(circuit, layout)
    writers, readers = _names(layout)
    found = [(writers[writer], readers[reader]) for reader, writer in edges.T.nonzero().tolist()]
    most = _MOST_ON_A_CURVE if on_a_curve else _MOST_EDGES
    if len(found) > most:
        repair = f"give n_edges up to {most}" if on_a_curve else f"take circuit.of_size({most})"
        raise UnknownOption(
            f"code refused: expected a circuit of at most {most} edges, which a program can list, got one of "
            f"{len(found)}; {repair}"
        )
    return found


def listed(edges: Sequence[tuple[str, str]]) -> list[str]:
    """Return the entries of a dictionary: each reader and the writers that it has an edge from."""
    heard: dict[str, list[str]] = {}
    for writer, reader in edges:
        heard.setdefault(reader, []).append(writer)
    lines = []
    for reader, names in heard.items():
        line = f'"{reader}": "{" ".join(names)}",'
        lines += [line] if len(line) <= WIDEST_LINE - 8 else [f'"{reader}": (', *indented(_wrapped(names)), "),"]
    return lines


def _wrapped(names: Sequence[str]) -> list[str]:
    """Return a text of names, in pieces that Python puts together."""
    lines, line = [], ""
    for name in names:
        if len(line) + len(name) > WIDEST_LINE - 16:
            lines.append(f'"{line}"')
            line = ""
        line += f"{name} "
    return [*lines, f'"{line.rstrip()}"']


def leaving_out() -> Chunk:
    """Return a function that takes nodes out of a circuit."""
    return Chunk(
        "Edges without those that touch one of some heads and MLPs.",
        [
            "def without(edges, nodes):",
            "    is_there = torch.tensor([name not in nodes for name in writers])",
            "    is_read = torch.cat([is_there[owners], torch.tensor([True])])  # the logits always",
            "    return edges & is_there[:, None] & is_read",
        ],
    )


def _reaching() -> list[str]:
    return [
        "def reached(edges):",
        "    found, before = torch.arange(len(writers)) == 0, None",
        "    while before is None or not found.equal(before):",
        "        before = found.clone()",
        "        found[owners[(edges & found[:, None]).any(0)[:-1]]] = True",
        "    return found",
    ]


def growing() -> list[Chunk]:
    """Return a function that grows a circuit of some size from scores."""
    return [
        Chunk("The writers that the embedding reaches along edges.", _reaching()),
        Chunk(
            "A circuit grown backwards from the logits: each time the largest edge into what is there already.\n"
            "An edge counts once the embedding reaches its writer.",
            [
                "def grown(scores, size):",
                "    taken, kept = torch.zeros_like(possible), torch.zeros_like(possible)",
                "    is_there = torch.zeros(len(writers), dtype=torch.bool)",
                "    while int(kept.sum()) < size:",
                "        is_read = torch.cat([is_there[owners], torch.tensor([True])])  # the logits always",
                "        sizes = torch.where(possible & is_read & ~taken, scores.abs(), -1.0)",
                "        if sizes.max() < 0:",
                "            break",
                "        largest = int(sizes.argmax())",
                "        taken.view(-1)[largest] = True",
                "        is_there[largest // len(readers)] = True",
                "        counted = taken & reached(taken)[:, None]",
                "        if int(counted.sum()) > size:",
                "            break",
                "        kept = counted",
                "    return kept",
            ],
        ),
    ]


def pruning() -> list[Chunk]:
    """Return a function that takes away the edges that lie on no way from the embedding to the logits."""
    return [
        Chunk("The writers that the embedding reaches along edges.", _reaching()),
        Chunk(
            "The edges that lie on a way from the embedding to the logits.",
            [
                "def pruned(edges):",
                "    edges = edges & possible & reached(edges)[:, None]",
                "    is_heard, before = torch.arange(len(readers)) == len(readers) - 1, None",
                "    while before is None or not is_heard.equal(before):",
                "        before = is_heard.clone()",
                "        is_heard[:-1] = (edges & is_heard).any(1)[owners]",
                "    return edges & is_heard",
            ],
        ),
    ]


def exchanging() -> Chunk:
    """Return a function that gives a circuit's wiring to other heads."""
    return Chunk(
        "The same wiring between other parts: in every layer the heads change places, round in a circle.",
        [
            "def exchanged(edges):",
            "    writer_order, reader_order = list(range(len(writers))), list(range(len(readers)))",
            "    for layer in range(n_layers):",
            "        reader, writer = layer * (3 * n_heads + 1), 1 + layer * (n_heads + 1)",
            "        order = torch.randperm(n_heads, generator=dice).tolist()",
            "        for head, other in zip(order, [*order[1:], order[0]]):",
            "            writer_order[writer + head] = writer + other",
            "            for port in range(3):",
            "                reader_order[reader + 3 * head + port] = reader + 3 * other + port",
            "    return edges[writer_order][:, reader_order]",
        ],
    )
