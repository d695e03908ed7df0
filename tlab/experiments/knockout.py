"""`knockout`: forbid some positions to read from others, and see what the prediction loses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch

from tlab.engine import Sweep, run
from tlab.errors import UnknownOption, UnusablePrompt, shown
from tlab.experiments.attention_edges import edges_of, forbidden, heads_of, other_sources, positions_of
from tlab.experiments.sweeping import sweep
from tlab.manifest import experiment
from tlab.metrics import checked_metric, prob
from tlab.plain import whole, whole_number
from tlab.precision import precise, precise_dtype
from tlab.results import Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor

    from tlab.metrics import Metric
    from tlab.models import Model

__all__ = ["Knockout", "KnockoutSweep", "knockout", "knockout_sweep"]

_SHOWN_TOKENS = 6
_MOST = 1000


@dataclass(frozen=True, eq=False, repr=False)
class Knockout(Result):
    """The clean run beside one in which some positions could not read from others.

    Args:
        prompt: the text that was run.
        tokens: the same, token by token.
        edges: who could not read (destination) from whom (source), as positions `(source, destination)`.
        layers: in which layers.
        heads: in which heads, as names; empty for all heads of these layers.
        metric: what was measured, in words.
        unit: what it is counted in.
        clean_value: of the metric in the clean run.
        patched_value: of the metric with the edges knocked out.
        removed: the mean share of the destinations' attention that the sources had there in the clean run.
        frame: `token clean patched change`: probabilities of the tokens that matter in either run.
        controls: the metric with as many other sources knocked out for the same destinations: sources → value.

    """

    prompt: str
    tokens: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    layers: tuple[int, ...]
    heads: tuple[str, ...]
    metric: str
    unit: str
    clean_value: float
    patched_value: float
    removed: float
    frame: pd.DataFrame
    controls: dict[str, float]

    @property
    def change(self) -> float:
        """Change of the metric, patched minus clean."""
        return self.patched_value - self.clean_value

    def to_frame(self) -> pd.DataFrame:
        """Return `token clean patched change`: probabilities of the top tokens of both runs."""
        return self.frame.copy()

    def _twin_frame(self) -> pd.DataFrame:
        return self.frame.round(3)

    def explain(self) -> str:
        """Say what could not be read, how much of the attention that was, and what became of the metric."""
        if not self.edges:
            return f"Nothing was knocked out; the {self.metric} stays {self.clean_value:.3f}."
        sources, ends = ({edge[side] for edge in self.edges} for side in (0, 1))
        where = f"head{'s' * (len(self.heads) > 1)} {', '.join(self.heads)}" if self.heads else _layers(self.layers)
        said = (
            f"With {_named(ends, self.tokens)} kept from reading {_named(sources, self.tokens)} in {where}, the "
            f"{self.metric} goes from {self.clean_value:.3f} to {self.patched_value:.3f} ({self.change:+.3f}). "
            f"In the clean run that was {100 * self.removed:.1f} % of their attention there, which now goes elsewhere."
        )
        if self.controls:
            changes = sorted(value - self.clean_value for value in self.controls.values())
            said += (
                f" {len(changes)} random choices of as many other sources change it by {changes[0]:+.3f} to "
                f"{changes[-1]:+.3f}."
            )
        return (
            f"{said} A loss shows that something passes along these edges; none does not show that nothing does, since "
            f"it may take another way."
        )


@dataclass(frozen=True, eq=False, repr=False)
class KnockoutSweep(Result):
    """The same edges knocked out in one window of layers after the other.

    Args:
        prompt: the text that was run.
        tokens: the same, token by token.
        source: the positions that could not be read.
        destination: the positions that could not read them.
        window: how many layers a window has, fewer at the ends.
        metric: what was measured, in words.
        unit: what it is counted in.
        clean_value: of the metric in the clean run.
        values: of the metric, by the window's middle layer.
        control_values: likewise with as many other sources, drawn at random.
        control_sources: which these were.

    """

    prompt: str
    tokens: tuple[str, ...]
    source: tuple[int, ...]
    destination: tuple[int, ...]
    window: int
    metric: str
    unit: str
    clean_value: float
    values: Tensor
    control_values: Tensor
    control_sources: tuple[tuple[int, ...], ...]

    def to_frame(self) -> pd.DataFrame:
        """Return `layer value change sources kind`, one row a window; the layer is its middle."""
        rows = []
        for kind, sources, values in (
            ("knockout", self.source, self.values),
            *(
                ("control", sources, row)
                for sources, row in zip(self.control_sources, self.control_values, strict=True)
            ),
        ):
            for layer, value in enumerate(values.tolist()):
                rows.append((layer, value, value - self.clean_value, " ".join(map(str, sources)), kind))
        return pd.DataFrame(rows, columns=["layer", "value", "change", "sources", "kind"])

    def _twin_frame(self) -> pd.DataFrame:
        frame = self.to_frame()
        return frame[frame["kind"] == "knockout"].sort_values("change", key=abs, ascending=False).round(3)

    def explain(self) -> str:
        """Say where in depth the reading matters, and what other sources do there."""
        frame = self.to_frame().dropna(subset="value")
        mine, others = (frame[frame["kind"] == kind] for kind in ("knockout", "control"))
        if mine.empty:
            return "Nothing was knocked out."
        worst = mine.loc[mine["change"].abs().idxmax()]
        who, whom = _named(self.destination, self.tokens), _named(self.source, self.tokens)
        layers = "one layer" if self.window == 1 else f"{self.window} layers"
        said = (
            f"The {self.metric} is {self.clean_value:.3f} in the clean run. Keeping {who} from reading {whom} in "
            f"{layers} at a time changes it most around layer {int(worst['layer'])} ({worst['change']:+.3f}); half of "
            f"all windows change it by less than {mine['change'].abs().median():.3f}."
        )
        if len(others):
            said += (
                f" With other sources, drawn at random, the windows change it by {others['change'].min():+.3f} to "
                f"{others['change'].max():+.3f}."
            )
        else:
            said += " There were no other sources to compare with."
        return (
            f"{said} The window shows where in depth information passes along these edges, not which head carries it."
        )


@experiment
def knockout(
    model: Model,
    prompt: str,
    edges: Sequence[tuple[int | str, int | str]],
    *,
    layers: Sequence[int] | None = None,
    heads: Sequence[str] | None = None,
    metric: Metric | None = None,
    controls: int = 3,
    seed: int = 0,
) -> Knockout:
    """Run the prompt with some edges of attention forbidden: a destination cannot read from a source.

    The forbidden scores are set to minus infinity before the softmax, so that the rest of the destination's attention
    is shared out again and still sums to one. Values are not touched.

    Args:
        model: from `load`.
        prompt: the text to run.
        edges: pairs `(source, destination)`, each a position (counted from the end if negative) or the text of a
            token that occurs once.
        layers: in which layers; in all by default.
        heads: in which heads only, as names such as `"L3H4"`; all heads of the layers by default.
        metric: from `tlab.metrics`; by default the probability of the clean run's answer.
        controls: how many random choices of as many other sources are knocked out beside.
        seed: of those choices.

    Units: values in those of the metric, divergence in nats.

    Invariants:
        No edges change nothing; the rows of a pattern still sum to 1, with 0 at the forbidden edges.

    Raises:
        UnknownOption: a position lies outside the prompt, a token's text does not occur or occurs more than once, or a
            destination would have nothing left to read.
        UnknownTarget: a head's name cannot be read or lies outside the model.
        UnusablePrompt: the prompt cannot be read, an encoder's holds no mask, or the model is an encoder-decoder.

    Cost: one forward pass, and one for the edges and each control from the first layer and destination on.

    Example:
        >>> knockout(load("smollm2-135m"), "The capital of France is", [(" France", -1)]).edges
        ((3, 4),)

    Source:
        Geva et al., "Dissecting Recall of Factual Associations in Auto-Regressive Language Models" (2023),
        arXiv:2304.14767, who call it attention knockout.

    """
    ids = _ids(model, prompt)
    tokens = tuple(model.to_text(int(token)) for token in ids)
    pairs = edges_of(edges, tokens, is_causal=model.anatomy.decoder.is_causal)
    chosen = heads_of(model, layers, heads)
    ends = {end for _, end in pairs}
    others = other_sources(pairs, len(ids), _checked_controls(controls), seed)
    variants = [forbidden(pairs, chosen), *(forbidden(other, chosen) for other in others)]
    asked = prob("") if metric is None else checked_metric(metric)
    reads = asked.reads(model, ids)
    runs = Sweep(model, ids, variants, read=tuple(dict.fromkeys((*reads, asked.shows(model, ids)))))
    answer = int(runs.base_logits[-1].argmax())
    measured = prob(model.to_text(answer)) if metric is None else metric
    measure = (prob(answer) if metric is None else metric).bind(model, ids, runs.base_logits[: len(reads)])
    logits = torch.empty(len(variants), *runs.base_logits.shape, dtype=precise_dtype(model.dtype))
    for members, found in runs.run(lambda found: found):
        logits[members] = precise(found).cpu()
    values = measure(logits[:, : len(reads)].to(ids.device)).tolist()
    sites = [f"blocks.{layer}.attn.pattern" for layer in chosen]
    pattern = run(model, ids, sites=sites, predicts=False).captured
    return Knockout(
        prompt=prompt,
        tokens=tokens,
        edges=pairs,
        layers=tuple(chosen),
        heads=() if heads is None else tuple(f"L{layer}H{head}" for layer, some in chosen.items() for head in some),
        metric=measured.label,
        unit=measured.unit,
        clean_value=float(measure(runs.base_logits[None, : len(reads)])[0]),
        patched_value=values[0],
        removed=_removed(pattern, pairs, chosen, ends),
        frame=_comparison(model, precise(runs.base_logits[-1]).cpu(), logits[0, -1]),
        controls={
            " ".join(map(str, sorted({source for source, _ in other}))): value
            for other, value in zip(others, values[1:], strict=True)
        },
    )


@experiment
def knockout_sweep(
    model: Model,
    prompt: str,
    *,
    source: int | str | Sequence[int | str],
    destination: int | str | Sequence[int | str] = -1,
    window: int = 5,
    metric: Metric | None = None,
    controls: int = 3,
    seed: int = 0,
) -> KnockoutSweep:
    """Forbid destinations to read from sources in one window of layers after the other.

    Args:
        model: from `load`.
        prompt: the text to run.
        source: one position or several, or texts of tokens that occur once.
        destination: likewise; the last position by default.
        window: how many layers at a time, centred on each layer and cut off at the ends.
        metric: from `tlab.metrics`; by default the probability of the clean run's answer.
        controls: how many random choices of as many other sources are swept beside.
        seed: of those choices.

    Shapes:
        values: `layer`

    Invariants:
        Every value is that of `knockout` in the window's layers.

    Raises:
        UnknownOption: a position lies outside the prompt, a token's text does not occur or occurs more than once, or a
            destination would have nothing left to read.

    Cost: one run a layer, and one a layer for each control, in batches.

    Source:
        Geva et al. (2023), arXiv:2304.14767, with windows of k layers around each.

    """
    ids = _ids(model, prompt)
    tokens = tuple(model.to_text(int(token)) for token in ids)
    sources, ends = (positions_of(given, tokens) for given in (source, destination))
    is_causal = model.anatomy.decoder.is_causal
    pairs = edges_of([(one, end) for end in ends for one in sources], tokens, is_causal=is_causal)
    width = _checked_window(window)
    others = other_sources(pairs, len(ids), _checked_controls(controls), seed)
    windows = [
        {near: tuple(range(model.n_heads)) for near in range(layer - (width - 1) // 2, layer + width // 2 + 1)}
        for layer in range(model.n_layers)
    ]
    inside = [{layer: some for layer, some in one.items() if 0 <= layer < model.n_layers} for one in windows]
    variants = [forbidden(edges, one) for edges in (pairs, *others) for one in inside]
    asked = prob("") if metric is None else checked_metric(metric)
    runs = Sweep(model, ids, variants, read=asked.reads(model, ids))
    answer = int(runs.base_logits[-1].argmax())
    measured = prob(model.to_text(answer)) if metric is None else metric
    measure = (prob(answer) if metric is None else metric).bind(model, ids, runs.base_logits)
    values = sweep(runs, measure, what=f"{len(variants)} windows").measured.view(-1, model.n_layers)
    return KnockoutSweep(
        prompt=prompt,
        tokens=tokens,
        source=sources,
        destination=ends,
        window=width,
        metric=measured.label,
        unit=measured.unit,
        clean_value=float(measure(runs.base_logits[None])[0]),
        values=values[0],
        control_values=values[1:],
        control_sources=tuple(tuple(sorted({one for one, _ in other})) for other in others),
    )


def _ids(model: Model, prompt: str) -> Tensor:
    if model.family == "encoder-decoder":
        raise UnusablePrompt(
            f"prompt unusable: expected a model with one stack, got the encoder-decoder {shown(model.name)}, whose "
            f"prompt another stack reads; take a decoder or an encoder"
        )
    model.check_predicts()
    return model.to_ids(prompt)


def _removed(
    pattern: Mapping[str, Tensor],
    pairs: Sequence[tuple[int, int]],
    chosen: Mapping[int, tuple[int, ...]],
    ends: set[int],
) -> float:
    """Return the mean share of attention on the edges, over the destinations and heads."""
    if not pairs or not chosen:
        return 0.0
    sources, destinations = (list(side) for side in zip(*pairs, strict=True))
    weights = [
        pattern[f"blocks.{layer}.attn.pattern"][0, list(heads)][:, destinations, sources].sum(-1)
        for layer, heads in chosen.items()
    ]
    return float(torch.cat(weights).mean()) / len(ends)


def _comparison(model: Model, clean: Tensor, patched: Tensor) -> pd.DataFrame:
    rows = [clean.softmax(-1), patched.softmax(-1)]
    tops = [row.topk(_SHOWN_TOKENS).indices.tolist() for row in rows]
    chosen = list(dict.fromkeys(token for pair in zip(*tops, strict=True) for token in pair))
    frame = pd.DataFrame(
        {
            "token": [model.to_text(token) for token in chosen],
            "clean": rows[0][chosen].tolist(),
            "patched": rows[1][chosen].tolist(),
        }
    )
    frame["change"] = frame["patched"] - frame["clean"]
    return frame


def _named(positions: Iterable[int], tokens: Sequence[str]) -> str:
    names = [f"{tokens[position]!r} at {position}" for position in sorted(positions)]
    return ", ".join(names)


def _layers(layers: Sequence[int]) -> str:
    is_run = list(layers) == list(range(layers[0], layers[-1] + 1))
    if len(layers) == 1:
        return f"layer {layers[0]}"
    return f"layers {layers[0]} to {layers[-1]}" if is_run else f"layers {', '.join(map(str, layers))}"


def _checked_controls(controls: object) -> int:
    return whole_number("controls", controls, 0, _MOST, "try controls=3")


def _checked_window(window: object) -> int:
    width = whole(window)
    if width is not None and width >= 1:
        return width
    raise UnknownOption(
        f"window refused: expected a whole number of layers from 1 on, got {shown(window)}; try window=5"
    )
