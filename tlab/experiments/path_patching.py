"""`path_patch`: change what one part says to one other part, and to no third, and see what that path carries."""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pandas as pd
import torch

from tlab.engine import Sweep, run
from tlab.errors import UnknownOption, UnknownTarget, shown
from tlab.experiments.pairs import pair_of
from tlab.experiments.patching import base_and_source, contrast, share
from tlab.experiments.paths import Paths, check_sums, parse_receivers, parse_sender, senders_before
from tlab.experiments.sweeping import slowly, sweep
from tlab.experiments.wording import counted, percent_range, without_controls
from tlab.manifest import experiment
from tlab.plain import whole_number
from tlab.precision import precise_dtype
from tlab.results import Result, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float
    from torch import Tensor

    from tlab.experiments.paths import Receiver, Sender
    from tlab.metrics import Metric
    from tlab.models import Model

__all__ = ["PathPatch", "PathPatchSweep", "path_patch", "path_patch_sweep"]

_THROUGH = ("direct", "mlps")
_NAMED = 3
_MOST = 1000
_BUDGET_BYTES = 256 * 2**20
# So that progress is seen and an interrupt loses little, also where a path takes long to lay.
_MOST_AT_ONCE = 32


@dataclass(frozen=True, eq=False, repr=False)
class PathPatch(Result):
    """The base run, and the base run with one path carrying what the sender says in the other run.

    Args:
        clean: the clean prompt.
        corrupted: the corrupted prompt.
        sender: the part at the path's beginning.
        receivers: the inputs at its end.
        through: `direct`, or `mlps` if MLPs between pass the change on.
        direction: `noise` or `denoise`.
        metric: what was measured, in words.
        unit: what it is counted in.
        clean_value: of the metric in the clean run.
        corrupted_value: likewise.
        patched_value: of the metric with the path patched.
        whole_value: of the metric with all paths from the sender patched at once.
        controls: random senders of the same kind → how far their paths to the same receivers go.

    """

    clean: str
    corrupted: str
    sender: str
    receivers: tuple[str, ...]
    through: str
    direction: str
    metric: str
    unit: str
    clean_value: float
    corrupted_value: float
    patched_value: float
    whole_value: float
    controls: dict[str, float]

    @property
    def share(self) -> float:
        """How far the path goes from the base run to the other: 0 none of the way, 1 all of it."""
        return share(self.patched_value, self.clean_value, self.corrupted_value, self.direction)

    @property
    def whole_share(self) -> float:
        """How far all of the sender's paths go together."""
        return share(self.whole_value, self.clean_value, self.corrupted_value, self.direction)

    def to_frame(self) -> pd.DataFrame:
        """Return `sender receivers share kind`: the path, all of the sender's paths, and the random senders."""
        ends = " ".join(self.receivers)
        rows = [(self.sender, ends, self.share, "path"), (self.sender, "all", self.whole_share, "all paths")]
        rows += [(name, ends, value, "control") for name, value in self.controls.items()]
        return pd.DataFrame(rows, columns=["sender", "receivers", "share", "kind"])

    def _twin_frame(self) -> pd.DataFrame:
        return self.to_frame().round(3)

    def explain(self) -> str:
        """Say what the path carries, beside all of the sender's paths and beside other senders."""
        source, base = ("clean", "corrupted") if self.direction == "denoise" else ("corrupted", "clean")
        way = "directly" if self.through == "direct" else "directly or through MLPs"
        said = (
            f"The {self.metric} is {self.clean_value:.3f} in the clean run and {self.corrupted_value:.3f} in the "
            f"corrupted one. If {', '.join(self.receivers)} {way} get from {self.sender} what it says in the {source} "
            f"run, the {base} run gives {self.patched_value:.3f}: {100 * self.share:.1f} % of the way. All paths from "
            f"{self.sender} together go {100 * self.whole_share:.1f} %."
        )
        if self.controls:
            values = sorted(self.controls.values())
            said += (
                f" The same path from {counted(len(values), 'random sender')} of its kind goes "
                f"{percent_range(values[0], values[-1], digits=1)}."
            )
        else:
            said += without_controls(self)
        return (
            f"{said} What the receivers then do is recomputed, so the figure holds all that follows from the path; "
            f"it does not tell which token's information passes along it."
        )


@dataclass(frozen=True, eq=False, repr=False)
class PathPatchSweep(Result):
    """The paths to the same receivers from every part that stands before them.

    Args:
        clean: the clean prompt.
        corrupted: the corrupted prompt.
        receivers: the inputs at the paths' end.
        through: `direct` or `mlps`.
        direction: `noise` or `denoise`.
        metric: what was measured, in words.
        unit: what it is counted in.
        clean_value: of the metric in the clean run.
        corrupted_value: likewise.
        embed_value: of the metric with the path from the embedding patched.
        values: of the metric with the path from a head, or in the last column an MLP, patched; not a number where
            there is no path, or where the sweep was stopped before.
        rows: the layers.
        columns: the heads, and `mlp`.
        n_senders: how many parts have such a path.
        column_axis: `head`.

    """

    clean: str
    corrupted: str
    receivers: tuple[str, ...]
    through: str
    direction: str
    metric: str
    unit: str
    clean_value: float
    corrupted_value: float
    embed_value: float
    values: Float[Tensor, "layer column"]
    rows: tuple[int, ...]
    columns: tuple[str, ...]
    n_senders: int
    column_axis: str = "head"

    @property
    def is_complete(self) -> bool:
        """Whether every path was patched."""
        return len(self.to_frame()) == self.n_senders

    @property
    def shares(self) -> Float[Tensor, "layer column"]:
        """How far each path goes from the base run to the other: 0 none of the way, 1 all of it."""
        if self.clean_value == self.corrupted_value:
            return torch.full_like(self.values, torch.nan)
        base = self.corrupted_value if self.direction == "denoise" else self.clean_value
        other = self.clean_value if self.direction == "denoise" else self.corrupted_value
        return (self.values - base) / (other - base)

    def to_frame(self) -> pd.DataFrame:
        """Return `sender layer part head value share`, one row a sender that has a path.

        `part` is `embed`, `head` or `mlp`; only heads have a number in `head`, and the embedding's layer is -1.
        """
        share_of_embed = share(self.embed_value, self.clean_value, self.corrupted_value, self.direction)
        records: list[tuple[str, int, str, int | None, float, float]] = [
            ("embed", -1, "embed", None, self.embed_value, share_of_embed)
        ]
        for layer, values, shares in zip(self.rows, self.values.tolist(), self.shares.tolist(), strict=True):
            for column, value, part in zip(self.columns, values, shares, strict=True):
                if column == "mlp":
                    records.append((f"L{layer}.mlp", layer, "mlp", None, value, part))
                else:
                    records.append((f"L{layer}H{column}", layer, "head", int(column), value, part))
        frame = pd.DataFrame(records, columns=["sender", "layer", "part", "head", "value", "share"])
        frame["head"] = frame["head"].astype("Int64")
        return frame[~frame["value"].isna()].reset_index(drop=True)

    def _twin_frame(self) -> pd.DataFrame:
        return self.to_frame().sort_values("share", key=abs, ascending=False).round(3)

    def explain(self) -> str:
        """Name the senders whose paths carry most, beside what a typical one carries."""
        frame = self.to_frame().sort_values("share", key=abs, ascending=False)
        named = ", ".join(f"{row.sender} ({100 * row.share:.1f} %)" for row in frame.head(_NAMED).itertuples())
        source, base = ("clean", "corrupted") if self.direction == "denoise" else ("corrupted", "clean")
        way = "direct paths" if self.through == "direct" else "paths, direct or through MLPs,"
        stopped = "" if self.is_complete else f" The sweep was stopped after {len(frame)} of {self.n_senders} paths."
        if frame.empty:
            return f"Nothing was patched.{stopped}"
        return (
            f"The {self.metric} is {self.clean_value:.3f} in the clean run and {self.corrupted_value:.3f} in the "
            f"corrupted one. Of {len(frame)} senders, patched one at a time from the {source} run into the {base} "
            f"one, the {way} to {', '.join(self.receivers)} go furthest from {named}; the median goes "
            f"{percent(float(frame['share'].abs().median()))} of the way.{stopped} Paths that only matter together, or "
            f"that pass through another head, do not show."
        )


@experiment
def path_patch(
    model: Model,
    clean: str,
    corrupted: str,
    sender: str,
    receivers: str | Sequence[str],
    *,
    metric: Metric | None = None,
    through: Literal["direct", "mlps"] = "direct",
    direction: Literal["noise", "denoise"] = "noise",
    controls: int = 5,
    seed: int = 0,
) -> PathPatch:
    """Run one prompt with what a sender says to some receivers, and to nobody else, taken from a run of the other.

    Every part reads the sum of what was written to the stream before it. The receivers are given that sum with the
    sender's share exchanged; whatever stands between is held at the base run's value. What follows from the receivers
    is computed anew.

    Args:
        model: from `load`; its stream must be the sum of what its parts write.
        clean: the prompt whose answer is of interest.
        corrupted: a prompt of as many tokens with another answer.
        sender: `"L9H9"`, `"L3.attn"`, `"L3.mlp"` or `"embed"`.
        receivers: one or several of `"L10H7.q"` (or `.k`, `.v`; without them all three), `"L10.mlp"`, `"logits"`. A
            head's key and value are its own here, also where heads share them.
        metric: from `tlab.metrics`; by default the logit difference between the two runs' answers.
        through: `direct`, or `mlps`: MLPs between sender and receiver see the change and pass it on.
        direction: `noise` puts corrupted values into the clean run, as in the papers; `denoise` the other way round.
        controls: from how many random senders of the same kind the same path is patched beside.
        seed: of that choice.

    Invariants:
        Between a prompt and itself no path carries anything.

    Raises:
        UnknownTarget: a name cannot be read or lies outside the model, or the receivers stand before the sender.
        UnusablePrompt: a prompt cannot be read, or the model is an encoder-decoder.
        UnequalPrompts: the prompts differ in length.
        UnknownOption: another option, or a model that norms its stream after each addition.

    Cost: two forward passes, and one for each path from the first receiver on; with `mlps` the MLPs between once more.

    Source:
        Wang et al., "Interpretability in the Wild" (2022), arXiv:2211.00593, whose path patching is our `noise` with
        `mlps`; Goldowsky-Dill et al., "Localizing Model Behavior with Path Patching" (2023), arXiv:2304.05969.

    """
    pair = pair_of(model, clean, corrupted)
    check_sums(model)
    first, ends = parse_sender(sender, model), parse_receivers(receivers, model)
    _check_order(first, ends)
    base, source = base_and_source(pair, direction)
    paths = Paths(model, base, source, through_mlps=_checked_through(through) == "mlps")
    others = _others(first, ends, model, n_choices=controls, seed=seed)
    measured, bind = contrast(model, pair, metric)
    reads = measured.reads(model, base)
    runs = Sweep(model, base, [*paths.variants([first, *others], ends), paths.whole(first)], read=reads)
    measure, of_source = (bind(ids, runs.base_logits) for ids in (base, source))
    values = sweep(runs, measure, what="paths").measured.tolist()
    other = run(model, source, read=reads).logits
    base_value, source_value = float(measure(runs.base_logits[None])), float(of_source(other))
    clean_value, corrupted_value = (source_value, base_value) if direction == "denoise" else (base_value, source_value)
    return PathPatch(
        clean=clean,
        corrupted=corrupted,
        sender=str(first),
        receivers=tuple(map(str, ends)),
        through=through,
        direction=direction,
        metric=measured.label,
        unit=measured.unit,
        clean_value=clean_value,
        corrupted_value=corrupted_value,
        patched_value=values[0],
        whole_value=values[-1],
        controls={
            str(one): share(value, clean_value, corrupted_value, direction)
            for one, value in zip(others, values[1:-1], strict=True)
        },
    )


@experiment
def path_patch_sweep(
    model: Model,
    clean: str,
    corrupted: str,
    receivers: str | Sequence[str],
    *,
    metric: Metric | None = None,
    through: Literal["direct", "mlps"] = "direct",
    direction: Literal["noise", "denoise"] = "noise",
) -> PathPatchSweep:
    """Patch the path to the same receivers from every head, every MLP and the embedding, one at a time.

    Args:
        model: from `load`; its stream must be the sum of what its parts write.
        clean: the prompt whose answer is of interest.
        corrupted: a prompt of as many tokens with another answer.
        receivers: as in `path_patch`; `"logits"` shows who writes to the answer directly.
        metric: from `tlab.metrics`; by default the logit difference between the two runs' answers.
        through: as in `path_patch`.
        direction: likewise.

    Shapes:
        values: `layer column`, one column a head and a last one for the MLP

    Invariants:
        Every value is that of `path_patch` from that sender.

    Raises:
        UnknownTarget: a receiver's name cannot be read or lies outside the model.
        UnusablePrompt: a prompt cannot be read, or the model is an encoder-decoder.
        UnequalPrompts: the prompts differ in length.
        UnknownOption: another option, or a model that norms its stream after each addition.

    Cost: layers × (heads + 1) runs, batched, each from the first receiver on; with `mlps` the MLPs between once more.

    Source:
        Wang et al. (2022), arXiv:2211.00593, who find each next group of heads by such a map.

    """
    pair = pair_of(model, clean, corrupted)
    check_sums(model)
    ends = parse_receivers(receivers, model)
    base, source = base_and_source(pair, direction)
    paths = Paths(model, base, source, through_mlps=_checked_through(through) == "mlps")
    measured, bind = contrast(model, pair, metric)
    reads = measured.reads(model, base)
    base_logits, source_logits = (run(model, ids, read=reads).logits for ids in (base, source))
    measure, of_source = (bind(ids, base_logits[0]) for ids in (base, source))
    values = torch.full((model.n_layers, model.n_heads + 1), torch.nan, dtype=precise_dtype(model.dtype))
    embed_value = float("nan")
    senders = senders_before(model, ends)
    n_kept = 4 * (len({receiver.layer for receiver in ends}) + 2)
    at_once = max(1, _BUDGET_BYTES // (model.dtype.itemsize * pair.n_pos * model.d_model * n_kept))
    at_once = min(at_once, _MOST_AT_ONCE)
    chunks = [senders[first : first + at_once] for first in range(0, len(senders), at_once)]
    # What was found before an interrupt is worth keeping; an interrupt also comes while paths are laid.
    with contextlib.suppress(KeyboardInterrupt):
        for chosen in slowly(chunks, f"paths, {at_once} at a time"):
            swept = sweep(Sweep(model, base, paths.variants(chosen, ends), read=reads), measure, what="paths")
            for sender, value in zip(chosen, swept.measured.tolist(), strict=True):
                if sender.kind == "embed":
                    embed_value = value
                else:
                    values[sender.layer, -1 if sender.head is None else sender.head] = value
            if not swept.is_complete:
                break
    base_value, source_value = float(measure(base_logits)), float(of_source(source_logits))
    clean_value, corrupted_value = (source_value, base_value) if direction == "denoise" else (base_value, source_value)
    return PathPatchSweep(
        clean=clean,
        corrupted=corrupted,
        receivers=tuple(map(str, ends)),
        through=through,
        direction=direction,
        metric=measured.label,
        unit=measured.unit,
        clean_value=clean_value,
        corrupted_value=corrupted_value,
        embed_value=embed_value,
        values=values,
        rows=tuple(range(model.n_layers)),
        columns=(*map(str, range(model.n_heads)), "mlp"),
        n_senders=len(senders),
    )


def _checked_through(through: object) -> str:
    if through in _THROUGH:
        return str(through)
    raise UnknownOption(f"through refused: expected 'direct' or 'mlps', got {shown(through)}; try through='direct'")


def _check_order(sender: Sender, receivers: Sequence[Receiver]) -> None:
    if not any(sender.stage < receiver.stage for receiver in receivers):
        raise UnknownTarget(
            f"path unknown: expected a receiver that reads what {sender} writes, got "
            f"{shown(', '.join(map(str, receivers)))}; name one that stands behind it"
        )


def _others(sender: Sender, receivers: Sequence[Receiver], model: Model, *, n_choices: int, seed: int) -> list[Sender]:
    """Return random senders of the same kind that have a path to the same receivers; there is but one embedding."""
    n_choices = whole_number("controls", n_choices, 0, _MOST, "try controls=5")
    before = senders_before(model, receivers)
    alike = [one for one in before if one.kind == sender.kind and one != sender]
    if sender.kind == "attn":
        last = max(receiver.stage for receiver in receivers)
        every = [parse_sender(f"L{layer}.attn", model) for layer in range(model.n_layers)]
        alike = [one for one in every if one.stage < last and one != sender]
    draw = random.Random(seed)  # noqa: S311  a sample, no secret
    return draw.sample(alike, min(n_choices, len(alike)))
