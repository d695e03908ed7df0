"""`completeness` and `minimality`: what becomes of a circuit, and of the whole model, without some of its nodes.

Refuses: estimates. Every number here comes from a run of the circuit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch

from tlab.circuits.bench import Bench, checked_number, percents, share_of
from tlab.errors import shown
from tlab.experiments.sweeping import slowly
from tlab.manifest import experiment
from tlab.results import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlab.circuits.discovery import Circuit
    from tlab.metrics import Metric
    from tlab.models import Model

__all__ = ["Completeness", "Minimality", "completeness", "minimality"]

_NAMED = 3
# Wang et al. call a node idle whose change is below this share of the whole effect.
_IDLE = 0.01


@dataclass(frozen=True, eq=False, repr=False)
class Completeness(Result):
    """The circuit and the whole model with the same nodes cut from both.

    Args:
        metric: what was measured, in words.
        unit: what it is counted in.
        clean_value: of the metric in the clean runs, their mean.
        corrupted_value: likewise.
        frame: `removed n_removed circuit_value model_value gap`, one row a set of nodes.

    """

    metric: str
    unit: str
    clean_value: float
    corrupted_value: float
    frame: pd.DataFrame

    @property
    def worst(self) -> float:
        """The largest gap, as a share of the difference between the runs."""
        size = abs(self.clean_value - self.corrupted_value)
        return float(self.frame["gap"].abs().max()) / size if size else float("nan")

    def to_frame(self) -> pd.DataFrame:
        """Return `removed n_removed circuit_value model_value gap`, one row a set of nodes."""
        return self.frame.copy()

    def _twin_frame(self) -> pd.DataFrame:
        frame = self.frame.round(3)
        frame["removed"] = [shown(text)[1:-1] for text in frame["removed"]]
        return frame

    def explain(self) -> str:
        """Say how far circuit and model part when the same nodes are cut, and what the model does without them all."""
        none, every = self.frame.iloc[0], self.frame.iloc[-1]
        size = abs(self.clean_value - self.corrupted_value)
        typical = float(self.frame["gap"].abs().mean())
        left = share_of(float(every["model_value"]), self.clean_value, self.corrupted_value)
        return (
            f"The {self.metric} of circuit and whole model differs by {abs(none['gap']):.3f} with nothing removed. "
            f"With the same nodes of the circuit removed from both, in {len(self.frame)} ways, it differs by "
            f"{typical:.3f} on average and by {percents(self.worst)} of the whole effect ({size:.3f}) at worst. "
            f"Without any node of the circuit the model still has {percents(left)} of the effect: so much is done "
            f"elsewhere. Random sets can miss the one set that shows a gap."
        )


@dataclass(frozen=True, eq=False, repr=False)
class Minimality(Result):
    """What each node of the circuit is there for.

    Args:
        metric: what was measured, in words.
        unit: what it is counted in.
        clean_value: of the metric in the clean runs, their mean.
        corrupted_value: likewise.
        frame: `node change share beside`: the largest change that removing the node makes, and which other nodes were
            removed before it.
        controls: nodes outside the circuit → the change that cutting them from the whole model makes.

    """

    metric: str
    unit: str
    clean_value: float
    corrupted_value: float
    frame: pd.DataFrame
    controls: dict[str, float]

    @property
    def idle(self) -> tuple[str, ...]:
        """The nodes whose removal changes less than a hundredth of the whole effect."""
        return tuple(self.frame[self.frame["share"] < _IDLE]["node"])

    def to_frame(self) -> pd.DataFrame:
        """Return `node change share beside`, one row a node, the largest change first."""
        return self.frame.copy()

    def _twin_frame(self) -> pd.DataFrame:
        frame = self.frame.round(3)
        frame["beside"] = [shown(text)[1:-1] for text in frame["beside"]]
        return frame

    def explain(self) -> str:
        """Say which nodes matter, how many do not, and what nodes outside the circuit do."""
        named = ", ".join(f"{row.node} ({100 * row.share:.0f} %)" for row in self.frame.head(_NAMED).itertuples())
        size = abs(self.clean_value - self.corrupted_value)
        said = (
            f"Of {len(self.frame)} nodes these change the {self.metric} most when they are removed from the circuit: "
            f"{named}. {len(self.idle)} change it by less than {100 * _IDLE:.0f} % of the whole effect ({size:.3f}) "
            f"in every way that was tried."
        )
        if self.controls:
            values = sorted(abs(value) / size if size else float("nan") for value in self.controls.values())
            said += (
                f" {len(values)} random nodes outside the circuit, cut from the whole model, change it by "
                f"{100 * values[0]:.1f} % to {100 * values[-1]:.1f} %."
            )
        return f"{said} A node that is idle here may matter beside a set of others that was not tried."


@experiment
def completeness(
    model: Model,
    circuit: Circuit,
    clean: str | Sequence[str] | None = None,
    corrupted: str | Sequence[str] | None = None,
    metric: Metric | Sequence[Metric] | None = None,
    *,
    n_samples: int = 8,
    seed: int = 0,
) -> Completeness:
    """Remove the same nodes from the circuit and from the whole model: a complete circuit follows the model.

    The first set is empty, the last holds every node of the circuit, those between are drawn at random, small ones as
    often as large ones.

    Args:
        model: from `load`.
        circuit: from `discover`.
        clean: prompts to run it on; by default those that it was found on.
        corrupted: as many, of as many tokens each.
        metric: as in `discover`.
        n_samples: how many random sets of nodes are removed.
        seed: of the choice.

    Invariants:
        The circuit of all edges is complete: every gap is zero.

    Raises:
        UnknownOption: the circuit is another model's, or an option is none of the known.
        UnequalPrompts: the prompts have different numbers of tokens.

    Cost: two or three forward passes each for circuit and model and every set.

    Source:
        Wang et al. (2022), arXiv:2211.00593: our `gap` is their F(C∖K) − F(M∖K). They also search greedily for K.

    """
    bench = Bench(model, circuit, clean, corrupted, metric)
    nodes = circuit.nodes
    dice = torch.Generator().manual_seed(seed)
    n_sets = checked_number(n_samples, "n_samples", least=0)
    chosen = [(), *(bench.drawn(nodes, dice) for _ in range(n_sets)), nodes]
    rows = []
    for removed in slowly(chosen, "sets of nodes"):
        here = bench.value(bench.graph.without(circuit.edges, removed))
        there = bench.value(bench.graph.without(bench.graph.possible, removed))
        rows.append(
            {
                "removed": " ".join(removed),
                "n_removed": len(removed),
                "circuit_value": here,
                "model_value": there,
                "gap": here - there,
            }
        )
    return Completeness(**bench.ends(), frame=pd.DataFrame(rows))


@experiment
def minimality(
    model: Model,
    circuit: Circuit,
    clean: str | Sequence[str] | None = None,
    corrupted: str | Sequence[str] | None = None,
    metric: Metric | Sequence[Metric] | None = None,
    *,
    n_samples: int = 1,
    controls: int = 5,
    seed: int = 0,
) -> Minimality:
    """Remove each node of the circuit in turn, alone and beside random others: what is it there for?

    Args:
        model: from `load`.
        circuit: from `discover`.
        clean: prompts to run it on; by default those that it was found on.
        corrupted: as many, of as many tokens each.
        metric: as in `discover`.
        n_samples: beside how many random sets of other nodes each is removed once more: a node may be idle only
            because another stands in for it.
        controls: how many random nodes outside the circuit are cut from the whole model, for comparison.
        seed: of the choices.

    Raises:
        UnknownOption: the circuit is another model's, or an option is none of the known.
        UnequalPrompts: the prompts have different numbers of tokens.

    Cost: two or three forward passes for every node, and four to six for every node and set.

    Source:
        Wang et al. (2022), arXiv:2211.00593: our `change` is their minimality score |F(C∖(K∪{v})) − F(C∖K)|, the
        largest over the sets K that were tried.

    """
    bench = Bench(model, circuit, clean, corrupted, metric)
    nodes = circuit.nodes
    n_sets, n_controls = checked_number(n_samples, "n_samples", least=0), checked_number(controls, "controls", least=0)
    dice = torch.Generator().manual_seed(seed)
    whole = bench.value(circuit.edges)
    rows = []
    for node in slowly(nodes, "nodes"):
        changes = [(abs(bench.value(bench.graph.without(circuit.edges, [node])) - whole), "")]
        for _ in range(n_sets):
            others = bench.drawn([other for other in nodes if other != node], dice)
            rest = bench.graph.without(circuit.edges, others)
            change = abs(bench.value(bench.graph.without(rest, [node])) - bench.value(rest))
            changes.append((change, " ".join(others)))
        change, beside = max(changes)
        rows.append({"node": node, "change": change, "share": bench.part(change), "beside": beside})
    outside = [name for name in bench.graph.writers[1:] if name not in nodes]
    order = torch.randperm(len(outside), generator=dice)[:n_controls].tolist()
    everything = bench.value(bench.graph.possible) if order else 0.0
    frame = pd.DataFrame(rows, columns=["node", "change", "share", "beside"])
    return Minimality(
        **bench.ends(),
        frame=frame.sort_values("change", ascending=False, ignore_index=True),
        controls={
            outside[place]: bench.value(bench.graph.without(bench.graph.possible, [outside[place]])) - everything
            for place in order
        },
    )
