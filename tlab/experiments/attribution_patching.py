"""`attribution_patch_sweep`: guess the result of every patch at once, from gradients, and say how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pandas as pd
import torch

from tlab.engine import Edit, run
from tlab.engine.gradient import gradients
from tlab.errors import UnknownOption, shown
from tlab.experiments.pairs import pair_of
from tlab.experiments.patch_sweep import columns_of, places
from tlab.experiments.patching import base_and_source, contrast
from tlab.experiments.place_map import PlaceMap
from tlab.manifest import experiment
from tlab.metrics import loss
from tlab.plain import whole_number
from tlab.precision import precise, precise_dtype
from tlab.results import percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from jaxtyping import Float, Int
    from torch import Tensor

    from tlab.experiments.patch_sweep import PatchSweep, Place
    from tlab.metrics import Metric
    from tlab.models import Model

__all__ = ["AttributionSweep", "attribution_patch_sweep", "checked_steps", "mean_gradients", "pearson"]

_NAMED = 3
_MOST_STEPS = 1000
_BUDGET_BYTES = 256 * 2**20
_ENTRANCE = "blocks.0.resid_pre"
# Places that the whole stream passes: patched at all positions together they give the other run.
_CUTS = ("resid_pre", "resid_mid")


@dataclass(frozen=True, eq=False, repr=False)
class AttributionSweep(PlaceMap):
    """An estimate for every place of what `patch_sweep` would measure there.

    Args:
        clean: the clean prompt.
        corrupted: the corrupted prompt.
        over: what would be patched in turn.
        direction: `denoise` or `noise`.
        steps: at how many points between the two runs the gradient was taken.
        metric: what was measured, in words.
        unit: what it is counted in.
        clean_value: of the metric in the clean run.
        corrupted_value: likewise.
        values: of the metric with the place patched, as estimated.
        rows: the layers.
        columns: the positions, or the heads.
        column_axis: `pos`, `head`, or `kv_head` for keys and values that several heads share.
        tokens: the clean prompt's, where the columns are positions; empty for heads.
        n_sharing: how many heads share each key and value.

    """

    clean: str
    corrupted: str
    over: str
    direction: str
    steps: int
    metric: str
    unit: str
    clean_value: float
    corrupted_value: float
    values: Float[Tensor, "layer column"]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    column_axis: str
    tokens: tuple[str, ...] = ()
    n_sharing: int = 1

    @property
    def estimates(self) -> Float[Tensor, "layer column"]:
        """By how much each patch would change the metric, as estimated."""
        return self.values - self._base

    @property
    def shares(self) -> Float[Tensor, "layer column"]:
        """How far each patch would go from the base run to the other: 0 none of the way, 1 all of it."""
        if self._gap == 0:
            return torch.full_like(self.values, torch.nan)
        return self.estimates / self._gap

    @property
    def _base(self) -> float:
        return self.corrupted_value if self.direction == "denoise" else self.clean_value

    @property
    def _gap(self) -> float:
        gap = self.clean_value - self.corrupted_value
        return gap if self.direction == "denoise" else -gap

    def against(self, swept: PatchSweep) -> pd.DataFrame:
        """Compare the estimates with what patching really did: `group n pearson_r mean_error`.

        Args:
            swept: from `patch_sweep`, of the same prompts, places, direction and metric.

        Returns:
            One row for all places together, and one for each layer. A layer in which nothing varies has no
            correlation. The error is the mean of |estimate − truth|, in the metric's unit.

        Raises:
            UnknownOption: the two are not about the same places.

        """
        for name in ("clean", "corrupted", "over", "direction", "metric"):
            mine, theirs = getattr(self, name), getattr(swept, name, None)
            if mine != theirs:
                raise UnknownOption(
                    f"comparison refused: expected a patch_sweep with {name} {shown(mine)}, got {shown(theirs)}; "
                    f"run patch_sweep with the same arguments"
                )
        rows = [{"group": "all", **_agreement(self.values, swept.values)}]
        for layer, mine, theirs in zip(self.rows, self.values, swept.values, strict=True):
            rows.append({"group": f"layer {layer}", **_agreement(mine, theirs)})
        return pd.DataFrame(rows)

    def explain(self) -> str:
        """Name the places with the largest estimates, and say where the estimate can be checked and where it fails."""
        if self._gap == 0:
            return f"The {self.metric} is {self.clean_value:.3f} in both runs: there is no difference to attribute."
        frame = self.to_frame().sort_values("share", key=abs, ascending=False)
        named = self._named(frame.head(_NAMED))
        source, base = ("clean", "corrupted") if self.direction == "denoise" else ("corrupted", "clean")
        slope = f"the {base} run's gradient" if self.steps == 1 else f"the mean gradient at {self.steps} points between"
        return (
            f"The {self.metric} is {self.clean_value:.3f} in the clean run and {self.corrupted_value:.3f} in the "
            f"corrupted one. Estimated from {slope}, patching these {self.over} from the {source} run into the {base} "
            f"one would go furthest: {named}; the median would go "
            f"{percent(float(frame['share'].abs().median()))} of the way.{self._checked()} Nothing was patched: the "
            f"estimate is a straight line where the model is curved, which fails most in early layers, at whole "
            f"streams and MLP outputs, where a change is large and passes many norms, activations and softmaxes. "
            f"Compare with .against(patch_sweep(…))."
        )

    def _checked(self) -> str:
        """Return, for cuts through the whole stream, what the estimates should add up to and what they do."""
        # Each run has its loss on its own tokens, so that no patch goes from the one to the other.
        if self.over not in _CUTS or self.metric == loss().label:
            return ""
        sums = (100 * self.estimates.sum(1) / self._gap).tolist()
        return (
            f" A layer's whole stream goes all of the way, 100 %; the estimates of its positions add up to "
            f"{sums[0]:.0f} % in layer {self.rows[0]} and {sums[-1]:.0f} % in layer {self.rows[-1]}."
        )


@experiment
def attribution_patch_sweep(
    model: Model,
    clean: str,
    corrupted: str,
    *,
    over: Literal["resid_pre", "resid_mid", "attn_out", "mlp_out", "heads", "q", "k", "v", "pattern"] = "resid_pre",
    metric: Metric | None = None,
    direction: Literal["denoise", "noise"] = "denoise",
    steps: int = 1,
) -> AttributionSweep:
    """Estimate what patching every place of a kind would do, without patching any.

    Near a run the metric is nearly a plane: a patch changes it by the change of the activation times the gradient
    there. One pass forward and one back give the estimate for all places, where `patch_sweep` runs once for each.
    With several steps the gradient is the mean over runs whose embeddings lie between the two prompts'.

    Args:
        model: from `load`; no encoder-decoder.
        clean: the prompt whose answer is of interest.
        corrupted: a prompt of as many tokens with another answer.
        over: what would be patched, as in `patch_sweep`.
        metric: from `tlab.metrics`; by default the logit difference between the two runs' answers.
        direction: `denoise` estimates clean values in the corrupted run, `noise` the other way round.
        steps: at how many points the gradient is taken; 1 takes it in the run that would be patched, more in the
            middles of as many equal parts of the way between the embeddings.

    Shapes:
        values: `layer pos` or `layer head` (`layer kv_head` for keys and values that heads share)

    Invariants:
        Where the metric depends on the place along a straight line, the estimate is what `patch_sweep` measures. With
        many steps the estimates at `resid_pre` of layer 0 add up to the difference between the two runs, but for
        `loss`, which each run has on its own tokens.

    Raises:
        UnusablePrompt: a prompt cannot be read, an encoder's holds no mask, or the model is an encoder-decoder.
        UnequalPrompts: the prompts differ in length, or an encoder's masks stand at different positions.
        UnknownOption: `over`, the direction, the steps or the metric are none of the known, or the model has no such
            place.

    Cost: two forward passes, and for each step two more and one back.

    Source:
        Nanda, "Attribution Patching: Activation Patching At Industrial Scale" (2023), neelnanda.io; Syed, Rager and
        Conmy, "Attribution Patching Outperforms Automated Circuit Discovery" (2023), arXiv:2310.10348; for several
        steps Hanna, Pezzelle and Belinkov, "Have Faith in Faithfulness" (2024), arXiv:2403.17806, whose points lie at
        the ends of the parts, not in their middles.

    """
    pair = pair_of(model, clean, corrupted)
    base, source = base_and_source(pair, direction)
    measured, bind = contrast(model, pair, metric)
    if measured.kind == "kl" and checked_steps(steps) == 1:
        raise UnknownOption(
            "metric refused: expected one with a slope at the base run, got kl(), which is flat where it starts; "
            "take logit_diff, or steps=5"
        )
    found = places(model, pair, over)
    sites = tuple(dict.fromkeys(place.site for place in found))
    reads = measured.reads(model, base)
    runs = [run(model, ids, sites=sites, read=reads) for ids in (base, source)]
    measure, of_source = (bind(ids, runs[0].logits[0]) for ids in (base, source))
    base_value, source_value = float(measure(runs[0].logits)), float(of_source(runs[1].logits))
    slopes = mean_gradients(model, base[None], source[None], sites, measure, read=reads, steps=checked_steps(steps))
    estimates = {
        site: ((precise(runs[1].captured[site]) - precise(runs[0].captured[site])) * precise(slopes[site]))[0].cpu()
        for site in sites
    }
    dtype = precise_dtype(model.dtype)
    values = torch.tensor([base_value + _summed(estimates[place.site], place) for place in found], dtype=dtype)
    clean_value, corrupted_value = (source_value, base_value) if direction == "denoise" else (base_value, source_value)
    return AttributionSweep(
        clean=clean,
        corrupted=corrupted,
        over=over,
        direction=direction,
        steps=steps,
        metric=measured.label,
        unit=measured.unit,
        clean_value=clean_value,
        corrupted_value=corrupted_value,
        values=values.view(model.n_layers, -1),
        rows=tuple(range(model.n_layers)),
        **columns_of(model, pair, over),
    )


def checked_steps(steps: object) -> int:
    """Return the number of steps.

    Raises:
        UnknownOption: it is no whole number from 1 to 1000.

    """
    return whole_number("steps", steps, 1, _MOST_STEPS, "try steps=5")


def mean_gradients(
    model: Model,
    base: Int[Tensor, "batch pos"],
    source: Int[Tensor, "batch pos"],
    sites: Sequence[str],
    measure: Callable[[Tensor], Tensor],
    *,
    read: Sequence[int],
    steps: int,
) -> dict[str, Tensor]:
    """Return the gradient at every site: in the base run, or its mean over runs between the two.

    Args:
        model: from `load`.
        base: the prompts whose run it is.
        source: prompts of the same length, for the way between.
        sites: where.
        measure: from logits `batch read d_vocab` to one number a row; the rows are prompts in their order, perhaps
            several times over.
        read: the positions whose logits it gets.
        steps: 1 for the base run itself, more for so many points on the way.

    Shapes:
        returns: each site's own, `batch …`

    """
    if steps == 1:
        return gradients(model, base, sites, measure, read=read)[2]
    ends = [run(model, ids, sites=(_ENTRANCE,), predicts=False).captured[_ENTRANCE] for ids in (base, source)]
    total: dict[str, Tensor] = {}
    for ways in _parts(model, base, steps):
        between = torch.cat([ends[0] + way * (ends[1] - ends[0]) for way in ways])
        slopes = gradients(
            model, base.repeat(len(ways), 1), sites, measure, read=read, edits=(Edit(_ENTRANCE, _Given(between)),)
        )[2]
        for site, slope in slopes.items():
            summed = slope.view(len(ways), len(base), *slope.shape[1:]).sum(0)
            total[site] = total[site] + summed if site in total else summed
    return {site: tensor / steps for site, tensor in total.items()}


class _Given:
    """Put this in the place of whatever comes."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __call__(self, tensor: Tensor) -> Tensor:
        return self._tensor.to(tensor.dtype)


def _parts(model: Model, ids: Int[Tensor, "batch pos"], steps: int) -> Iterator[list[float]]:
    """Yield the middles of the parts of the way, as many at once as memory allows."""
    n_rows, n_pos = ids.shape
    width = (model.n_layers + 40) * model.d_model + 8 * (model.d_mlp or 4 * model.d_model) + 8 * model.n_heads * n_pos
    at_once = max(1, _BUDGET_BYTES // (model.dtype.itemsize * n_rows * n_pos * width))
    middles = [(step + 0.5) / steps for step in range(steps)]
    for first in range(0, steps, at_once):
        yield middles[first : first + at_once]


def _summed(estimates: Tensor, place: Place) -> float:
    """Add up what belongs to one place; where the runs do not differ yet, the estimates are zero."""
    if place.head is None:
        return float(estimates[list(place.positions)].sum())
    return float((estimates[place.head] if place.site.endswith("pattern") else estimates[:, place.head]).sum())


def _agreement(mine: Tensor, theirs: Tensor) -> Mapping[str, float]:
    known = ~theirs.isnan()
    mine, theirs = mine[known].double(), theirs[known].double()
    error = float((mine - theirs).abs().mean()) if len(mine) else float("nan")
    return {"n": len(mine), "pearson_r": pearson(mine, theirs), "mean_error": error}


def pearson(first: Float[Tensor, " n"], second: Float[Tensor, " n"]) -> float:
    """Return the correlation of two rows of numbers; not a number where one of them does not vary."""
    first, second = first.flatten() - first.mean(), second.flatten() - second.mean()
    scale = float(first.norm() * second.norm())
    return float(first @ second) / scale if scale > 0 else float("nan")
