"""`patch_sweep`: patch every place in turn: the map of where the difference between two prompts lives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from tlab.engine import Edit, Sweep, Variant, run
from tlab.errors import UnknownOption, shown
from tlab.experiments.pairs import pair_of
from tlab.experiments.patching import are_alike, base_and_source, contrast, put
from tlab.experiments.place_map import PlaceMap
from tlab.experiments.sweeping import growing_sweep, sweep
from tlab.manifest import experiment
from tlab.precision import precise_dtype
from tlab.results import percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jaxtyping import Float
    from torch import Tensor

    from tlab.experiments.pairs import Pair
    from tlab.metrics import Metric
    from tlab.models import Model

__all__ = ["PatchSweep", "Place", "columns_of", "growing_patch_sweep", "patch_sweep", "places"]

_STREAM = {"resid_pre": "resid_pre", "resid_mid": "resid_mid", "attn_out": "attn.out", "mlp_out": "mlp.out"}
_HEADS = {"heads": "z", "q": "q", "k": "k", "v": "v", "pattern": "pattern"}
_NAMED = 3


@dataclass(frozen=True, eq=False, repr=False)
class PatchSweep(PlaceMap):
    """One number for every patched place, beside the clean and the corrupted run's.

    Args:
        clean: the clean prompt.
        corrupted: the corrupted prompt.
        over: what was patched in turn.
        direction: `denoise` or `noise`.
        metric: what was measured, in words.
        unit: what it is counted in.
        clean_value: of the metric in the clean run.
        corrupted_value: likewise.
        values: of the metric with the place patched; not a number where the sweep was stopped before.
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
    def shares(self) -> Float[Tensor, "layer column"]:
        """How far each patch went from the base run to the other: 0 none of the way, 1 all of it."""
        if are_alike(self.clean_value, self.corrupted_value):
            return torch.full_like(self.values, torch.nan)
        base = self.corrupted_value if self.direction == "denoise" else self.clean_value
        other = self.clean_value if self.direction == "denoise" else self.corrupted_value
        return (self.values - base) / (other - base)

    @property
    def is_complete(self) -> bool:
        """Whether every place was patched."""
        return not bool(self.values.isnan().any())

    def explain(self) -> str:
        """Name the places that carry most of the difference, beside what a typical place carries."""
        frame = self.to_frame().dropna(subset="value").sort_values("share", key=abs, ascending=False)
        n_places = self.values.numel()
        stopped = "" if len(frame) == n_places else f" The sweep was stopped after {len(frame)} of {n_places} places."
        if frame.empty:
            return f"Nothing was patched.{stopped}"
        if are_alike(self.clean_value, self.corrupted_value):
            return (
                f"The {self.metric} is {self.clean_value:.3f} in both runs: there is no difference that a place could "
                f"carry. Choose prompts, or a metric, that differ."
            )
        named = self._named(frame.head(_NAMED))
        source, base = ("clean", "corrupted") if self.direction == "denoise" else ("corrupted", "clean")
        return (
            f"The {self.metric} is {self.clean_value:.3f} in the clean run and {self.corrupted_value:.3f} in the "
            f"corrupted one. Patched one at a time from the {source} run into the {base} one, these {self.over} go "
            f"furthest: {named}; the median goes {percent(float(frame['share'].abs().median()))} of the way.{stopped} "
            f"The map shows where the difference is carried, not how it is computed."
        )


@experiment
def patch_sweep(
    model: Model,
    clean: str,
    corrupted: str,
    *,
    over: Literal["resid_pre", "resid_mid", "attn_out", "mlp_out", "heads", "q", "k", "v", "pattern"] = "resid_pre",
    metric: Metric | None = None,
    direction: Literal["denoise", "noise"] = "denoise",
) -> PatchSweep:
    """Patch every place of a kind, one at a time, and measure how much of the difference between the runs comes along.

    Streams and outputs are patched at every layer and position; heads (their result `z`, or their queries, keys,
    values or patterns) at every layer, at all positions together.

    Args:
        model: from `load`.
        clean: the prompt whose answer is of interest.
        corrupted: a prompt of as many tokens with another answer.
        over: what to patch.
        metric: from `tlab.metrics`; by default the logit difference between the two runs' answers.
        direction: `denoise` puts clean values into the corrupted run, `noise` the other way round.

    Shapes:
        values: `layer pos` or `layer head` (`layer kv_head` for keys and values that heads share)

    Invariants:
        Every value is that of `patch` at that place alone. Before the first token in which the prompts differ the
        two runs are the same, so that these places are not run again.

    Raises:
        UnequalPrompts: the prompts differ in length, or an encoder's masks stand at different positions.
        UnusablePrompt: a prompt cannot be read, an encoder's holds no mask, or the model is an encoder-decoder.
        UnknownOption: `over`, the direction or the metric are none of the known, or the model has no such place.

    Cost: layers × positions (or heads) runs, batched, each from its own block and the first differing position on.

    Source:
        TransformerLens' `patching`: our `heads` is its `get_act_patch_attn_head_out_all_pos`, our `resid_pre` its
        `get_act_patch_resid_pre`, with `denoise`. Our queries and keys are those that enter the scores, after rotary
        positions and norms; patched at all positions they carry the same as its `hook_q` and `hook_k`.

    """
    plan = _planned(model, clean, corrupted, over=over, metric=metric, direction=direction)
    return plan.result(sweep(plan.runs, plan.measure, what=f"{len(plan.values)} places").measured)


def growing_patch_sweep(
    model: Model,
    clean: str,
    corrupted: str,
    *,
    over: Literal["resid_pre", "resid_mid", "attn_out", "mlp_out", "heads", "q", "k", "v", "pattern"] = "resid_pre",
    metric: Metric | None = None,
    direction: Literal["denoise", "noise"] = "denoise",
    positions_at_once: int | None = None,
) -> Iterator[PatchSweep]:
    """Yield `patch_sweep`'s result as it grows: what was not patched yet is not a number.

    Whoever stops listening leaves nothing behind in the model. The arguments are those of `patch_sweep`.

    Args:
        model: from `load`.
        clean: the prompt whose answer is of interest.
        corrupted: a prompt of as many tokens with another answer.
        over: what to patch.
        metric: what is measured.
        direction: `denoise` or `noise`.
        positions_at_once: how many positions one pass computes at most; fewer give more and smaller steps.

    """
    plan = _planned(model, clean, corrupted, over=over, metric=metric, direction=direction, at_once=positions_at_once)
    is_empty = True
    for swept in growing_sweep(plan.runs, plan.measure):
        is_empty = False
        yield plan.result(swept.measured)
    if is_empty:  # the prompts are the same, and nothing had to be run
        yield plan.result(torch.empty(0, dtype=plan.values.dtype))


@dataclass(frozen=True, eq=False)
class _Plan:
    """A sweep that has not begun: the places that are run, and the result without their values."""

    runs: Sweep
    measure: Callable[[Tensor], Tensor]
    values: Tensor
    changing: list[int]
    known: dict[str, Any]

    def result(self, measured: Tensor) -> PatchSweep:
        values = self.values.clone()
        values[self.changing] = measured
        return PatchSweep(**self.known, values=values.view(len(self.known["rows"]), -1))


def _planned(
    model: Model,
    clean: str,
    corrupted: str,
    *,
    over: str,
    metric: Metric | None,
    direction: str,
    at_once: int | None = None,
) -> _Plan:
    pair = pair_of(model, clean, corrupted)
    base, source = base_and_source(pair, direction)
    found = places(model, pair, over)
    other = run(model, source, sites=tuple(dict.fromkeys(place.site for place in found)))
    measured, bind = contrast(model, pair, metric)
    reads = measured.reads(model, base)
    changing = [index for index, place in enumerate(found) if place.can_change]
    variants = [Variant((_patch(found[index], other.captured),)) for index in changing]
    runs = Sweep(model, base, variants, read=reads, positions_at_once=at_once)
    measure, of_source = (bind(ids, runs.base_logits) for ids in (base, source))
    base_value, source_value = float(measure(runs.base_logits[None])), float(of_source(other.logits[:, list(reads)]))
    clean_value, corrupted_value = (source_value, base_value) if direction == "denoise" else (base_value, source_value)
    known = {
        "clean": clean,
        "corrupted": corrupted,
        "over": over,
        "direction": direction,
        "metric": measured.label,
        "unit": measured.unit,
        "clean_value": clean_value,
        "corrupted_value": corrupted_value,
        "rows": tuple(range(model.n_layers)),
        **columns_of(model, pair, over),
    }
    # Before the first difference the runs are the same: what stands there is the base run's value.
    values = torch.full((len(found),), base_value, dtype=precise_dtype(model.dtype))
    return _Plan(runs, measure, values, changing, known)


@dataclass(frozen=True)
class Place:
    """One place of a sweep.

    Args:
        site: where it is.
        positions: at which positions; for heads those from the first difference between the prompts on.
        head: which head; `None` for streams.
        can_change: whether the two runs can differ there.

    """

    site: str
    positions: tuple[int, ...]
    head: int | None
    can_change: bool


def places(model: Model, pair: Pair, over: str) -> list[Place]:
    """Return the places of a sweep, layer by layer.

    Raises:
        UnknownOption: `over` is none of the known, or the model has no such place.

    """
    if over not in {**_STREAM, **_HEADS}:
        known = ", ".join((*_STREAM, *_HEADS))
        raise UnknownOption(f"over refused: expected one of {known}, got {shown(over)}; try over='resid_pre'")
    # In a causal model the runs are the same up to the first difference; elsewhere every position reads all others.
    first = pair.first_difference if model.anatomy.decoder.is_causal else 0
    found = []
    for layer in range(model.n_layers):
        site = _site(model, layer, over)
        if over in _STREAM:
            found += [Place(site, (pos,), None, pos >= first) for pos in range(pair.n_pos)]
        else:
            n_heads = model.n_kv_heads if over in {"k", "v"} else model.n_heads
            later = tuple(range(first, pair.n_pos))
            found += [Place(site, later, head, bool(later)) for head in range(n_heads)]
    return found


def _site(model: Model, layer: int, over: str) -> str:
    if over in _STREAM:
        name = f"blocks.{layer}.{_STREAM[over]}"
    else:
        turned = f"blocks.{layer}.attn.rot_{over}"
        name = turned if turned in model.sites else f"blocks.{layer}.attn.{_HEADS[over]}"
    if name not in model.sites:
        raise UnknownOption(
            f"over refused: expected a place that {shown(model.name)} has, got {shown(over)}; "
            f"its attention and MLP read the same stream, so that there is nothing between them"
        )
    return name


def _patch(place: Place, captured: Mapping[str, Tensor]) -> Edit:
    value = captured[place.site]
    chosen = list(place.positions)
    if place.head is None:
        return Edit(place.site, put(value[:, chosen]), positions=place.positions)
    heads = (place.head,)
    is_map = place.site.endswith("pattern")
    cut = value[:, list(heads)][:, :, chosen] if is_map else value[:, chosen][:, :, list(heads)]
    return Edit(place.site, put(cut), heads=heads, positions=place.positions)


def columns_of(model: Model, pair: Pair, over: str) -> dict[str, Any]:
    """Return what the columns of the map are: `columns`, `column_axis`, and their `tokens` or `n_sharing`."""
    if over in _STREAM:
        tokens = tuple(model.to_text(int(token)) for token in pair.clean)
        return {"columns": tuple(range(pair.n_pos)), "column_axis": "pos", "tokens": tokens}
    if over not in {"k", "v"} or model.n_kv_heads == model.n_heads:
        return {"columns": tuple(range(model.n_heads)), "column_axis": "head"}
    n_sharing = model.n_heads // model.n_kv_heads
    return {"columns": tuple(range(model.n_kv_heads)), "column_axis": "kv_head", "n_sharing": n_sharing}
