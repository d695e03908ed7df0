"""`discover`: find the edges of the model that carry a behaviour, by their attribution scores."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch

from tlab.circuits.graph import Graph, graph_of
from tlab.circuits.scoring import edge_scores
from tlab.circuits.task import task_of
from tlab.errors import UnknownOption, shown
from tlab.experiments.attribution_patching import checked_steps
from tlab.manifest import experiment
from tlab.plain import whole
from tlab.results import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Bool, Float
    from torch import Tensor

    from tlab.metrics import Metric
    from tlab.models import Model

__all__ = ["Circuit", "discover", "fitting"]

_N_EDGES = 500
_NAMED = 5


@dataclass(frozen=True, eq=False, repr=False)
class Circuit(Result):
    """Some edges of a model, chosen by what cutting each is estimated to cost.

    Args:
        clean: the clean prompts.
        corrupted: the corrupted ones.
        metrics: what was measured, for each pair.
        metric: the same in words.
        unit: what it is counted in.
        clean_value: of the metric in the clean runs, their mean.
        corrupted_value: likewise.
        steps: at how many points between the two runs the gradient was taken.
        writers: the parts that write to the stream, in order.
        readers: the inputs that read it, in order.
        possible: which reader stands behind which writer.
        scores: what cutting each edge is estimated to cost; negative if the model does better without.
        edges: which edges are in the circuit.

    """

    clean: tuple[str, ...]
    corrupted: tuple[str, ...]
    metrics: tuple[Metric, ...]
    metric: str
    unit: str
    clean_value: float
    corrupted_value: float
    steps: int
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    possible: Bool[Tensor, "writer reader"]
    scores: Float[Tensor, "writer reader"]
    edges: Bool[Tensor, "writer reader"]

    @property
    def graph(self) -> Graph:
        """The whole model's graph."""
        return Graph(self.writers, self.readers, self.possible)

    @property
    def n_edges(self) -> int:
        """How many edges the circuit has."""
        return int(self.edges.sum())

    @property
    def nodes(self) -> tuple[str, ...]:
        """Its heads and MLPs, in order."""
        return self.graph.nodes(self.edges)

    def of_size(self, n_edges: int) -> Circuit:
        """Return the circuit of another size that the same scores give.

        Raises:
            UnknownOption: the size is no whole number from 1 on.

        """
        edges = self.graph.grown(self.scores, _checked_number(n_edges))
        return dataclasses.replace(self, edges=edges)

    def to_frame(self) -> pd.DataFrame:
        """Return `writer reader score`, one row an edge of the circuit, the largest score first."""
        places = self.edges.nonzero().tolist()
        frame = pd.DataFrame(
            [(self.writers[writer], self.readers[reader]) for writer, reader in places], columns=["writer", "reader"]
        )
        frame["score"] = self.scores[self.edges].tolist()
        return frame.sort_values("score", key=abs, ascending=False, ignore_index=True)

    def _twin_frame(self) -> pd.DataFrame:
        return self.to_frame().round(4)

    def explain(self) -> str:
        """Say how large the circuit is, what its strongest edges are, and what has not been shown yet."""
        frame = self.to_frame()
        n_possible = int(self.possible.sum())
        n_nodes = sum(name != "embed" for name in self.writers)
        named = ", ".join(f"{row.writer} → {row.reader} ({row.score:+.3f})" for row in frame.head(_NAMED).itertuples())
        prompts = "one pair of prompts" if len(self.clean) == 1 else f"{len(self.clean)} pairs of prompts"
        slope = "at the clean run" if self.steps == 1 else f"at {self.steps} points between the runs"
        return (
            f"On {prompts} the {self.metric} is {self.clean_value:.3f} in the clean run and "
            f"{self.corrupted_value:.3f} in the corrupted one. The circuit has {len(frame):,} of {n_possible:,} edges "
            f"({100 * len(frame) / n_possible:.2f} %) between {len(self.nodes)} of {n_nodes} heads and MLPs. Cutting "
            f"these edges is estimated to cost most: {named or 'none'}. The scores are estimates from gradients "
            f"{slope}; whether the circuit does the work is for faithfulness, completeness and minimality to measure."
        )


@experiment
def discover(
    model: Model,
    clean: str | Sequence[str],
    corrupted: str | Sequence[str],
    *,
    metric: Metric | Sequence[Metric] | None = None,
    n_edges: int | None = None,
    threshold: float | None = None,
    steps: int = 5,
) -> Circuit:
    """Find the edges of the model that carry the difference between clean and corrupted prompts.

    The graph has an edge from every part that writes to the residual stream to every part that reads it later: a
    head's queries, keys and values each read for themselves. An edge's score is the writer's change between the two
    runs times the gradient at the reader's stream: what cutting it would cost if the model were a plane. The circuit
    is grown backwards from the logits by the largest scores.

    Args:
        model: from `load`; its stream must be the sum of what its parts write.
        clean: one prompt or several.
        corrupted: as many, of as many tokens each.
        metric: from `tlab.metrics`, one for all pairs or one for each; by default each pair's logit difference
            between the clean and the corrupted run's answer.
        n_edges: how many edges the circuit is to have at most; 500 by default.
        threshold: take all edges with a score of at least this size that lie on a way to the logits, instead.
        steps: 1 takes the gradient in the clean run; more its mean over runs in between.

    Invariants:
        With all edges the circuit is the clean run, with none the corrupted one.

    Raises:
        UnequalPrompts: the prompts have different numbers of tokens.
        UnknownOption: another option, or a model that norms its stream after each addition.

    Cost: for each pair and step two passes forward and one back, and back through the attention projections once for
    each head's query, key and value.

    Source:
        Syed, Rager and Conmy, "Attribution Patching Outperforms Automated Circuit Discovery" (2023), arXiv:2310.10348;
        Hanna, Pezzelle and Belinkov, "Have Faith in Faithfulness" (2024), arXiv:2403.17806, whose points lie at the
        ends of the steps, not in their middles. In models whose heads share keys and values each head's reading of
        them is an edge of its own here.

    """
    if n_edges is not None and threshold is not None:
        raise UnknownOption("size refused: expected n_edges or threshold, got both; leave out one")
    size = _checked_number(_N_EDGES if n_edges is None else n_edges)
    smallest = _checked_threshold(threshold)
    points = checked_steps(steps)
    task = task_of(model, clean, corrupted, metric)
    if points == 1 and any(one.kind == "kl" for one in task.metrics):
        raise UnknownOption(
            "metric refused: expected one with a slope at the clean run, got kl(), which is flat there; "
            "take logit_diff, or steps=5"
        )
    graph = graph_of(model)
    scores = edge_scores(model, graph, task, steps=points)
    edges = graph.grown(scores, size) if smallest is None else graph.pruned(scores.abs() >= smallest)
    return Circuit(
        clean=task.clean_texts,
        corrupted=task.corrupted_texts,
        metrics=task.metrics,
        metric=task.label,
        unit=task.unit,
        clean_value=float(task.clean_values.mean()),
        corrupted_value=float(task.corrupted_values.mean()),
        steps=points,
        writers=graph.writers,
        readers=graph.readers,
        possible=graph.possible,
        scores=scores,
        edges=edges,
    )


def fitting(model: Model, circuit: object) -> Circuit:
    """Return the circuit if it is one of this model's graph.

    Raises:
        UnknownOption: it is none.

    """
    if not isinstance(circuit, Circuit):
        raise UnknownOption(
            f"circuit refused: expected one from tlab.circuits.discover, got {shown(circuit)}; find one"
        )
    graph = graph_of(model)
    if (circuit.writers, circuit.readers) != (graph.writers, graph.readers) or not torch.equal(
        circuit.possible, graph.possible
    ):
        raise UnknownOption(
            f"circuit refused: expected one of {shown(model.name)} with {graph.n_edges} possible edges, got one with "
            f"{int(circuit.possible.sum())}; take the model that it was found in"
        )
    return circuit


def _checked_number(n_edges: object) -> int:
    number = whole(n_edges)
    if number is not None and number >= 1:
        return number
    raise UnknownOption(f"n_edges refused: expected a whole number from 1 on, got {shown(n_edges)}; try n_edges=500")


def _checked_threshold(threshold: object) -> float | None:
    if threshold is None:
        return None
    if isinstance(threshold, (int, float)) and not isinstance(threshold, bool) and threshold >= 0:
        return float(threshold)
    raise UnknownOption(f"threshold refused: expected a number from 0 on, got {shown(threshold)}; try threshold=0.01")
