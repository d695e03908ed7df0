"""`ablation_sweep`: every head, attention layer, MLP or layer ablated in turn: the map of what an answer needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from tlab.engine import Sweep, Variant
from tlab.errors import UnknownOption, shown
from tlab.experiments.prompts import inputs_of
from tlab.experiments.replacement import ablations, replacements
from tlab.experiments.sweeping import growing_sweep, sweep
from tlab.manifest import experiment
from tlab.metrics import checked_metric, prob
from tlab.references import REFERENCE_PROMPTS
from tlab.results import Result
from tlab.targets import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jaxtyping import Float
    from torch import Tensor

    from tlab.metrics import Metric
    from tlab.models import Model

__all__ = ["AblationSweep", "ablation_sweep", "growing_ablation_sweep"]

_PARTS = {"heads": "head", "attn": "attn", "mlp": "mlp", "layers": "layer"}
_NAMED = 3
# Below this, three decimals show nothing.
_SMALL = 0.0005


@dataclass(frozen=True, eq=False, repr=False)
class AblationSweep(Result):
    """One number for every ablated part, beside the clean run's.

    Args:
        prompt: the text that was run.
        over: what was ablated in turn: `heads`, `attn`, `mlp` or `layers`.
        method: `zero`, `mean` or `resample`.
        metric: what was measured, in words.
        unit: what it is counted in.
        clean_value: of the metric in the clean run.
        values: of the metric with the part ablated; not a number where the sweep was stopped before.

    """

    prompt: str
    over: str
    method: str
    metric: str
    unit: str
    clean_value: float
    values: Float[Tensor, "layer head"]

    @property
    def changes(self) -> Float[Tensor, "layer head"]:
        """Change of the metric, ablated minus clean."""
        return self.values - self.clean_value

    @property
    def is_complete(self) -> bool:
        """Whether every part was ablated."""
        return not bool(self.values.isnan().any())

    def to_frame(self) -> pd.DataFrame:
        """Return `part layer head value change`, one row a part."""
        n_layers, n_columns = self.values.shape
        part = _PARTS[self.over]
        rows = [
            {"part": str(Target(layer, part, head)), "layer": layer, "head": head}
            for layer in range(n_layers)
            for head in (range(n_columns) if part == "head" else (None,))
        ]
        frame = pd.DataFrame(rows)
        if part != "head":
            frame = frame.drop(columns="head")
        frame["value"] = self.values.flatten().tolist()
        frame["change"] = self.changes.flatten().tolist()
        return frame

    def _twin_frame(self) -> pd.DataFrame:
        frame = self.to_frame()
        return frame.sort_values("change", key=abs, ascending=False).round(3)

    def explain(self) -> str:
        """Name the parts whose ablation changes most, beside what ablating any part does."""
        frame = self.to_frame().dropna(subset="value").sort_values("change", key=abs, ascending=False)
        stopped = (
            "" if self.is_complete else f" The sweep was stopped after {len(frame)} of {self.values.numel()} parts."
        )
        if frame.empty:
            return f"Nothing was ablated.{stopped}"
        digits = ".3f" if float(frame["change"].abs().max()) >= _SMALL else ".1e"
        named = ", ".join(f"{row.part} ({row.change:+{digits}})" for row in frame.head(_NAMED).itertuples())
        typical = float(frame["change"].abs().median())
        return (
            f"The {self.metric} is {self.clean_value:.3f} in the clean run of {self.prompt!r}. "
            f"Ablated one at a time ({self.method}), these {self.over} change it most: {named}; "
            f"half of all change it by at most {typical:{digits}}.{stopped} "
            f"A part with a small change may still matter: others can stand in for it."
        )


@experiment
def ablation_sweep(
    model: Model,
    prompt: str,
    *,
    over: Literal["heads", "attn", "mlp", "layers"] = "heads",
    metric: Metric | None = None,
    method: Literal["zero", "mean", "resample"] = "mean",
    reference: Sequence[str] = REFERENCE_PROMPTS,
    seed: int = 0,
) -> AblationSweep:
    """Ablate every part of a kind, one at a time, and measure what each costs.

    The map shows which parts the answer needs while all others are there. It does not show what a part does, nor what
    several parts do together.

    Args:
        model: from `load`.
        prompt: the text to run.
        over: which parts: `heads`, `attn` (attention layers), `mlp`, or `layers` (both).
        metric: from `tlab.metrics`; by default the probability of the clean run's answer.
        method: what takes the place of the output, as in `ablate`.
        reference: the prompts from which mean and resample take their values.
        seed: of resample's choice.

    Shapes:
        values: `layer head`; one column for parts that are not heads

    Invariants:
        Every value is that of `ablate` on that part alone.

    Raises:
        UnknownOption: `over`, the metric or the method is none of the known.
        UnusablePrompt: the prompt cannot be read, or an encoder's holds no mask.

    Cost: layers × heads runs in batches, each from its own block on: about a tenth of as many single runs.

    Source:
        TransformerLens has no such function; its `patching` module patches instead. See `ablate` for the methods.

    """
    plan = _planned(model, prompt, over=over, metric=metric, drawn=(method, reference, seed))
    return plan.result(sweep(plan.runs, plan.measure, what=f"{plan.runs.n_variants} {over}").measured)


def growing_ablation_sweep(
    model: Model,
    prompt: str,
    *,
    over: Literal["heads", "attn", "mlp", "layers"] = "heads",
    metric: Metric | None = None,
    method: Literal["zero", "mean", "resample"] = "mean",
    reference: Sequence[str] = REFERENCE_PROMPTS,
    seed: int = 0,
    positions_at_once: int | None = None,
) -> Iterator[AblationSweep]:
    """Yield `ablation_sweep`'s result as it grows, layer by layer: what was not ablated yet is not a number.

    Whoever stops listening leaves nothing behind in the model. The arguments are those of `ablation_sweep`.

    Args:
        model: from `load`.
        prompt: the text to run.
        over: which parts.
        metric: what is measured.
        method: what takes the place of the output.
        reference: the prompts from which mean and resample take their values.
        seed: of resample's choice.
        positions_at_once: how many positions one pass computes at most; fewer give more and smaller steps.

    """
    plan = _planned(model, prompt, over=over, metric=metric, drawn=(method, reference, seed), at_once=positions_at_once)
    for swept in growing_sweep(plan.runs, plan.measure):
        yield plan.result(swept.measured)


@dataclass(frozen=True, eq=False)
class _Plan:
    """A sweep that has not begun, and the result without its values."""

    runs: Sweep
    measure: Callable[[Tensor], Tensor]
    n_layers: int
    known: dict[str, Any]

    def result(self, measured: Tensor) -> AblationSweep:
        return AblationSweep(**self.known, values=measured.view(self.n_layers, -1))


def _planned(
    model: Model,
    prompt: str,
    *,
    over: str,
    metric: Metric | None,
    drawn: tuple[str, Sequence[str], int],
    at_once: int | None = None,
) -> _Plan:
    if over not in _PARTS:
        raise UnknownOption(f"over refused: expected one of {', '.join(_PARTS)}, got {shown(over)}; try over='heads'")
    method, reference, seed = drawn
    inputs = inputs_of(model, prompt)
    n_pos = inputs.ids.shape[1]
    heads = range(model.n_heads) if over == "heads" else (None,)
    targets = [Target(layer, _PARTS[over], head) for layer in range(model.n_layers) for head in heads]
    sites = tuple(dict.fromkeys(site for target in targets for site in target.sites))
    values = replacements(model, sites, n_pos, method=method, reference=reference, seed=seed)
    variants = [Variant(ablations((target,), values)) for target in targets]
    measured = prob("") if metric is None else checked_metric(metric)
    reads = measured.reads(model, inputs.ids[0])
    runs = Sweep(model, inputs, variants, read=reads, positions_at_once=at_once)
    if metric is None:
        measured = prob(model.to_text(int(runs.base_logits[-1].argmax())))
        measure = prob(int(runs.base_logits[-1].argmax())).bind(model, inputs.ids[0])
    else:
        measure = measured.bind(model, inputs.ids[0], runs.base_logits)
    known = {
        "prompt": prompt,
        "over": over,
        "method": method,
        "metric": measured.label,
        "unit": measured.unit,
        "clean_value": float(measure(runs.base_logits[None])[0]),
    }
    return _Plan(runs, measure, model.n_layers, known)
