"""`faithfulness` and its curve: how much of a behaviour a circuit recovers when it runs alone.

Refuses: estimates. Every number here comes from a run of the circuit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from tlab.circuits.bench import Bench, checked_number, percents, share_of
from tlab.experiments.sweeping import slowly
from tlab.manifest import experiment
from tlab.results import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlab.circuits.discovery import Circuit
    from tlab.metrics import Metric
    from tlab.models import Model

__all__ = ["Faithfulness", "FaithfulnessCurve", "faithfulness", "faithfulness_curve"]

# What a sentence calls most of the work.
_MOST_OF_IT = 0.9
_CONTROLS = {
    "random": "random circuits of this size, grown from the logits too,",
    "exchanged": "circuits of the same wiring with each layer's heads exchanged",
}


@dataclass(frozen=True, eq=False, repr=False)
class Faithfulness(Result):
    """What the circuit alone does, beside the whole model and beside random circuits of its size.

    Args:
        n_edges: of the circuit.
        n_possible: of the whole model.
        metric: what was measured, in words.
        unit: what it is counted in.
        clean_value: of the metric in the clean runs, their mean: the whole model.
        corrupted_value: likewise: no edge at all.
        circuit_value: likewise with the circuit's edges.
        pairs: `clean corrupted clean_value corrupted_value circuit_value`, one row a pair of prompts.
        controls: circuits of the same size → their mean value; `random 1` is grown at random, `exchanged 1` is the same
            wiring with the heads of each layer exchanged.

    """

    n_edges: int
    n_possible: int
    metric: str
    unit: str
    clean_value: float
    corrupted_value: float
    circuit_value: float
    pairs: pd.DataFrame
    controls: dict[str, float]

    @property
    def share(self) -> float:
        """How much of the difference between the runs the circuit recovers: 0 nothing, 1 all of it."""
        return share_of(self.circuit_value, self.clean_value, self.corrupted_value)

    @property
    def difference(self) -> float:
        """How far the circuit's value is from the model's, in the metric's unit."""
        return abs(self.clean_value - self.circuit_value)

    def to_frame(self) -> pd.DataFrame:
        """Return `clean corrupted clean_value corrupted_value circuit_value`, one row a pair of prompts."""
        return self.pairs.copy()

    def _twin_frame(self) -> pd.DataFrame:
        return self.pairs.round(3)

    def explain(self) -> str:
        """Say how much of the behaviour the circuit recovers, and how much random ones do."""
        if self.clean_value == self.corrupted_value:
            return f"The {self.metric} is {self.clean_value:.3f} in both runs: there is no difference to recover."
        said = (
            f"With {self.n_edges:,} of {self.n_possible:,} edges the {self.metric} is {self.circuit_value:.3f}, where "
            f"the whole model gives {self.clean_value:.3f} and no edge at all {self.corrupted_value:.3f}: "
            f"{percents(self.share)} of the difference."
        )
        for kind, name in _CONTROLS.items():
            shares = sorted(
                share_of(value, self.clean_value, self.corrupted_value)
                for control, value in self.controls.items()
                if control.startswith(kind)
            )
            if shares:
                said += f" {len(shares)} {name} recover {percents(shares[0])} to {percents(shares[-1])}."
        return (
            f"{said} More than 100 % is no praise: such a circuit leaves out parts that work against the answer. The "
            f"figure is about these prompts and this kind of corruption; give others to see whether it holds there."
        )


@dataclass(frozen=True, eq=False, repr=False)
class FaithfulnessCurve(Result):
    """What circuits of growing size recover, by the scores and at random.

    Args:
        metric: what was measured, in words.
        unit: what it is counted in.
        n_possible: edges of the whole model.
        clean_value: of the metric in the clean runs, their mean.
        corrupted_value: likewise.
        frame: `kind n_edges value share`; the kind is `scores`, `random` or `exchanged` (the same wiring with the
            heads of each layer exchanged).

    """

    metric: str
    unit: str
    n_possible: int
    clean_value: float
    corrupted_value: float
    frame: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """Return `kind n_edges value share`, one row a circuit."""
        return self.frame.copy()

    def _twin_frame(self) -> pd.DataFrame:
        return self.frame.round(3)

    def explain(self) -> str:
        """Say from which size on the circuit does most of the work."""
        found = self.frame[self.frame["kind"] == "scores"]
        enough = found[found["share"] >= _MOST_OF_IT]
        last = found.iloc[-1]
        most = f"{100 * _MOST_OF_IT:.0f} % of what parts the two runs, a {self.metric} of {self.corrupted_value:.3f} "
        most += f"corrupted and {self.clean_value:.3f} clean"
        said = f"No circuit of these sizes recovers {most}"
        if len(enough):
            first = int(enough.iloc[0]["n_edges"])
            said = f"With {first:,} of {self.n_possible:,} edges the circuit first recovers {most}"
        control = ""
        for kind, name in (("random", "Random circuits"), ("exchanged", "The same wirings with other heads")):
            others = self.frame[self.frame["kind"] == kind]
            if len(others):
                low, high = percents(others["share"].min()), percents(others["share"].max())
                control += f" {name} of the same sizes recover {low} to {high}."
        return (
            f"{said}; with {int(last['n_edges']):,} edges it recovers {percents(last['share'])}.{control} The curve "
            f"need not rise all the way: some edges work against the answer."
        )


@experiment
def faithfulness(
    model: Model,
    circuit: Circuit,
    clean: str | Sequence[str] | None = None,
    corrupted: str | Sequence[str] | None = None,
    metric: Metric | Sequence[Metric] | None = None,
    *,
    controls: int = 3,
    seed: int = 0,
) -> Faithfulness:
    """Run the circuit alone: its edges carry the clean run, all others carry what the corrupted run says.

    Args:
        model: from `load`.
        circuit: from `discover`.
        clean: prompts to run it on; by default those that it was found on.
        corrupted: as many, of as many tokens each.
        metric: as in `discover`.
        controls: how many of each kind are run beside: random circuits of the same size, and the same wiring with
            the heads of each layer exchanged.
        seed: of their choice.

    Invariants:
        The circuit of all edges recovers everything, that of none nothing.

    Raises:
        UnknownOption: the circuit is another model's, or an option is none of the known.
        UnequalPrompts: the prompts have different numbers of tokens.

    Cost: two or three forward passes each for the circuit and for every control.

    Source:
        Wang et al. (2022), arXiv:2211.00593: our `difference` is their faithfulness |F(M) − F(C)|, for edges and with
        corrupted instead of mean values; our `share` is the normalised faithfulness of Hanna et al. (2024),
        arXiv:2403.17806.

    """
    bench = Bench(model, circuit, clean, corrupted, metric)
    n_controls = checked_number(controls, "controls", least=0)
    values = bench.runner.values(circuit.edges)
    task = bench.task
    pairs = pd.DataFrame(
        {
            "clean": task.clean_texts,
            "corrupted": task.corrupted_texts,
            "clean_value": task.clean_values.tolist(),
            "corrupted_value": task.corrupted_values.tolist(),
            "circuit_value": values.tolist(),
        }
    )
    others = bench.controls(circuit.edges, n_controls, seed)
    return Faithfulness(
        n_edges=circuit.n_edges,
        n_possible=bench.graph.n_edges,
        **bench.ends(),
        circuit_value=float(values.mean()),
        pairs=pairs,
        controls={name: bench.value(edges) for name, edges in slowly(others, "controls")},
    )


@experiment
def faithfulness_curve(
    model: Model,
    circuit: Circuit,
    clean: str | Sequence[str] | None = None,
    corrupted: str | Sequence[str] | None = None,
    metric: Metric | Sequence[Metric] | None = None,
    *,
    n_edges: Sequence[int] = (10, 30, 100, 300, 1000, 3000, 10000),
    controls: int = 1,
    seed: int = 0,
) -> FaithfulnessCurve:
    """Run circuits of growing size, chosen by the same scores, and controls of the same sizes.

    Args:
        model: from `load`.
        circuit: from `discover`; its scores are taken, not its size.
        clean: prompts to run it on; by default those that it was found on.
        corrupted: as many, of as many tokens each.
        metric: as in `discover`.
        n_edges: the sizes; those beyond the whole model are left out.
        controls: how many controls of each kind and size are run beside.
        seed: of their choice.

    Raises:
        UnknownOption: the circuit is another model's, or an option is none of the known.
        UnequalPrompts: the prompts have different numbers of tokens.

    Cost: two or three forward passes for each circuit.

    Source:
        Hanna, Pezzelle and Belinkov (2024), arXiv:2403.17806.

    """
    bench = Bench(model, circuit, clean, corrupted, metric)
    n_controls = checked_number(controls, "controls", least=0)
    listed = list(n_edges) if isinstance(n_edges, (list, tuple, range)) else [n_edges]
    sizes = [min(checked_number(size, "n_edges", least=1, most=None), bench.graph.n_edges) for size in listed]
    circuits = [("scores", bench.graph.grown(circuit.scores, size)) for size in dict.fromkeys(sizes)]
    circuits += [
        (name.partition(" ")[0], other)
        for _, edges in circuits.copy()
        for name, other in bench.controls(edges, n_controls, seed)
    ]
    rows = []
    for kind, edges in slowly(circuits, "circuits"):
        value = bench.value(edges)
        rows.append({"kind": kind, "n_edges": int(edges.sum()), "value": value, "share": bench.task.share(value)})
    return FaithfulnessCurve(**bench.ends(), n_possible=bench.graph.n_edges, frame=pd.DataFrame(rows))
