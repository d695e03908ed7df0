"""The bench on which circuits are measured: the prompts, the runs, and random circuits beside."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from tlab.circuits.discovery import fitting
from tlab.circuits.running import Runner
from tlab.circuits.task import task_of
from tlab.errors import UnknownOption, shown
from tlab.plain import whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from tlab.circuits.discovery import Circuit
    from tlab.circuits.graph import Graph
    from tlab.circuits.task import Task
    from tlab.models import Model

__all__ = ["Bench", "checked_number", "percents", "share_of"]

_MOST = 1000


class Bench:
    """A circuit, the prompts that it is measured on, and the runs.

    Args:
        model: from `load`.
        circuit: from `discover`.
        clean: prompts; if there are none, those that the circuit was found on.
        corrupted: likewise.
        metric: as in `discover`.

    """

    def __init__(self, model: Model, circuit: Circuit, clean: object, corrupted: object, metric: object) -> None:
        found = fitting(model, circuit)
        if (clean is None) != (corrupted is None):
            raise UnknownOption(
                "prompts refused: expected clean and corrupted ones, got only one of them; give both, or neither"
            )
        own = clean is None
        texts: Any = (found.clean, found.corrupted) if own else (clean, corrupted)
        measured: Any = found.metrics if own and metric is None else metric
        self.task: Task = task_of(model, texts[0], texts[1], measured)
        self._label = found.metric if own and metric is None else self.task.label
        self.graph: Graph = found.graph
        self.runner = Runner(model, self.graph, self.task)

    def value(self, edges: Tensor) -> float:
        """Return the metric with these edges alone, its mean over the pairs."""
        return float(self.runner.values(edges).mean())

    def part(self, change: float) -> float:
        """Return a change as a share of the difference between the runs."""
        size = abs(float(self.task.clean_values.mean() - self.task.corrupted_values.mean()))
        return change / size if size else float("nan")

    def ends(self) -> dict[str, Any]:
        """Return what every result says of the two runs."""
        return {
            "metric": self._label,
            "unit": self.task.unit,
            "clean_value": float(self.task.clean_values.mean()),
            "corrupted_value": float(self.task.corrupted_values.mean()),
        }

    def controls(self, edges: Tensor, n_controls: int, seed: int) -> list[tuple[str, Tensor]]:
        """Return circuits of the same size: random ones, and the same wiring with other heads.

        The random ones are grown from the logits as the found one was, but by scores drawn at random.
        """
        dice = torch.Generator().manual_seed(seed)
        found = []
        for number in range(1, n_controls + 1):
            drawn = torch.rand(self.graph.possible.shape, generator=dice)
            found.append((f"random {number}", self.graph.grown(drawn, int(edges.sum()))))
            found.append((f"exchanged {number}", self.graph.exchanged(edges, dice)))
        return found

    def drawn(self, nodes: Sequence[str], dice: torch.Generator) -> tuple[str, ...]:
        """Return a random set of nodes, of any size: of few nodes as likely as of many."""
        if not nodes:
            return ()
        size = round(math.exp(float(torch.rand((), generator=dice)) * math.log(len(nodes))))
        chosen = set(torch.randperm(len(nodes), generator=dice)[:size].tolist())
        return tuple(node for place, node in enumerate(nodes) if place in chosen)


def share_of(value: float, clean_value: float, corrupted_value: float) -> float:
    """Return how far a value lies on the way from the corrupted run's to the clean run's."""
    gap = clean_value - corrupted_value
    return float("nan") if gap == 0 else (value - corrupted_value) / gap


def percents(share: float) -> str:
    """Return a share for a sentence: `95 %`; nothing at all has no sign."""
    text = f"{100 * share:.0f} %"
    return "0 %" if text == "-0 %" else text


def checked_number(value: object, name: str, *, least: int, most: int | None = _MOST) -> int:
    """Return a whole number within bounds.

    Raises:
        UnknownOption: it is none.

    """
    number = whole(value)
    if number is not None and number >= least and (most is None or number <= most):
        return number
    top = "on" if most is None else f"to {most}"
    raise UnknownOption(
        f"{name} refused: expected a whole number from {least} {top}, got {shown(value)}; try {least + 1}"
    )
