"""`compare`: two prompts side by side: where the model's computation parts, and what it predicts for each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch

from tlab.engine import run
from tlab.experiments.aligning import aligned
from tlab.experiments.prompts import inputs_of, tokens_of
from tlab.experiments.reading import reading_position
from tlab.experiments.wording import counted
from tlab.manifest import experiment
from tlab.precision import precise
from tlab.results import Result, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float
    from torch import Tensor

    from tlab.engine import Inputs
    from tlab.models import Model

__all__ = ["Comparison", "compare"]

_SHOWN_TOKENS = 6
_SAID = 3


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Result):
    """Two runs beside each other, position by position.

    Args:
        a: the first prompt.
        b: the second.
        a_tokens: the first, token by token (in an encoder-decoder: what the encoder reads).
        b_tokens: the second, likewise.
        pairs: positions of `a` and `b` that belong together.
        distance: how far the streams of each pair lie apart, over the mean of their lengths; layer 0 is the embedding,
            layer `n` the stream after block `n − 1`.
        cosine: of the two streams.
        baseline: mean distance between different positions of the same prompt: how far apart streams are that have
            nothing to do with each other. Not a number where the prompts have no two later positions.
        attention: how differently each head reads at the last pair: total variation distance between what it reads
            from paired positions, 0 to 1; what is read from positions without a partner counts in full.
        attention_everywhere: the same, as a mean over all pairs.
        kl_nats: divergence of `b`'s prediction from `a`'s at the end; not a number without predictions.
        predictions: `token a b change`, probabilities of the tokens that matter in either; empty without predictions.

    """

    a: str
    b: str
    a_tokens: tuple[str, ...]
    b_tokens: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    distance: Float[Tensor, "layer pair"]
    cosine: Float[Tensor, "layer pair"]
    baseline: Float[Tensor, " layer"]
    attention: Float[Tensor, "layer head"]
    attention_everywhere: Float[Tensor, "layer head"]
    kl_nats: float
    predictions: pd.DataFrame

    @property
    def differing(self) -> tuple[int, ...]:
        """The pairs whose tokens differ, counted from 0."""
        return tuple(n for n, (i, j) in enumerate(self.pairs) if self.a_tokens[i] != self.b_tokens[j])

    def to_frame(self) -> pd.DataFrame:
        """Return `layer pair a_pos a_token b_pos b_token distance cosine baseline`, one row a layer and pair."""
        return pd.DataFrame(
            {
                "layer": layer,
                "pair": pair,
                "a_pos": i,
                "a_token": self.a_tokens[i],
                "b_pos": j,
                "b_token": self.b_tokens[j],
                "distance": float(self.distance[layer, pair]),
                "cosine": float(self.cosine[layer, pair]),
                "baseline": float(self.baseline[layer]),
            }
            for layer in range(len(self.distance))
            for pair, (i, j) in enumerate(self.pairs)
        )

    def heads(self, n: int = 10) -> pd.DataFrame:
        """Return the `n` heads that read most differently at the last pair: `head attention attention_everywhere`."""
        n_heads = self.attention.shape[1]
        order = self.attention.flatten().argsort(descending=True, stable=True)[:n].tolist()
        return pd.DataFrame(
            {
                "head": [f"L{index // n_heads}H{index % n_heads}" for index in order],
                "attention": self.attention.flatten()[order].tolist(),
                "attention_everywhere": self.attention_everywhere.flatten()[order].tolist(),
            }
        )

    def _twin_frame(self) -> pd.DataFrame:
        frame = self.to_frame()
        last = frame[frame["pair"] == len(self.pairs) - 1]
        return last[["layer", "a_token", "b_token", "distance", "cosine", "baseline"]].round(3)

    def explain(self) -> str:
        """Say where the prompts differ, how far that reaches, which heads notice it, and what becomes of the answer."""
        differ = len(self.differing)
        if not differ and not self.distance.any():
            return f"The prompts are the same: {counted(len(self.pairs), 'pair')} of tokens, and nothing lies apart."
        alone = len(self.a_tokens) + len(self.b_tokens) - 2 * len(self.pairs)
        last = self.distance[:, -1]
        peak = int(last.argmax())
        heads = ", ".join(f"{row['head']} {row['attention']:.2f}" for row in self.heads(_SAID).to_dict("records"))
        beside = float(self.baseline[peak])
        against = "" if math.isnan(beside) else f" (unrelated positions there: {beside:.2f})"
        return (
            f"Of {counted(len(self.pairs), 'pair')} of tokens {differ} {'differs' if differ == 1 else 'differ'}; "
            f"tokens without a partner: {alone}. At the end of the prompts the streams lie furthest apart in layer "
            f"{peak}, {float(last[peak]):.2f} of their length{against}, and {float(last[-1]):.2f} in the last. "
            f"The heads that read most differently there: {heads}.{self._answers()} "
            f"A distance says that something differs, not that it matters for the answer: patch measures that."
        )

    def _answers(self) -> str:
        if len(self.predictions) == 0:
            return ""
        first, second = (self.predictions.loc[self.predictions[side].idxmax()] for side in ("a", "b"))
        return (
            f" The predictions lie {self.kl_nats:.2f} nats apart: {first['token']!r} ({percent(first['a'])}) for the "
            f"first, {second['token']!r} ({percent(second['b'])}) for the second."
        )


@experiment
def compare(model: Model, a: str, b: str) -> Comparison:
    """Run two prompts and show where their streams, attention patterns and predictions part.

    Tokens are paired by the least number of replaced, added and left-out ones, the last with the last, so that prompts
    of different lengths can be compared too. In an encoder-decoder the encoder's streams and patterns are compared,
    and what the decoder says first.

    Args:
        model: from `load`.
        a: a prompt.
        b: another.

    Units: distances as shares of the streams' mean length, attention as weights, the predictions' in nats.

    Invariants:
        A prompt compared with itself differs in nothing.

    Cost: two forward passes; `layer × head × pos²` numbers for each.

    Example:
        >>> compare(load("smollm2-135m"), "The capital of France is", "The capital of Italy is").differing
        (3,)

    """
    one, two = _Side(model, a), _Side(model, b)
    pairs = aligned(one.ids, two.ids)
    distance, cosine = _streams(one, two, pairs)
    last, everywhere = _patterns(one, two, pairs)
    kl_nats, predictions = _predictions(model, one, two)
    return Comparison(
        a=a,
        b=b,
        a_tokens=one.tokens,
        b_tokens=two.tokens,
        pairs=pairs,
        distance=distance,
        cosine=cosine,
        baseline=(one.spread() + two.spread()) / 2,
        attention=last,
        attention_everywhere=everywhere,
        kl_nats=kl_nats,
        predictions=predictions,
    )


class _Side:
    """One of the two runs."""

    def __init__(self, model: Model, prompt: str) -> None:
        inputs = inputs_of(model, prompt)
        ids = inputs.ids if inputs.source is None else inputs.source
        prefix = "" if inputs.source is None else "encoder."
        stack = model.anatomy.decoder if model.anatomy.encoder is None else model.anatomy.encoder
        layers = range(len(stack.blocks))
        streams = [f"{prefix}blocks.0.resid_pre", *(f"{prefix}blocks.{layer}.resid_post" for layer in layers)]
        patterns = [f"{prefix}blocks.{layer}.attn.pattern" for layer in layers]
        place = _place(model, inputs)
        read = None if place is None else (place,)
        done = run(model, inputs, sites=[*streams, *patterns], read=read, predicts=place is not None)
        self.ids: list[int] = ids[0].tolist()
        self.tokens = tokens_of(model, ids[0])
        self.streams = precise(torch.stack([done.captured[site][0] for site in streams])).cpu()
        self.patterns = [precise(done.captured[site][0]).cpu() for site in patterns]
        self.logits = None if place is None else precise(done.logits[0, 0]).cpu()

    def spread(self) -> Float[Tensor, " layer"]:
        """Return the mean distance between different positions, without the first: as a sink it is like no other."""
        later = self.streams[:, 1:]
        n_pos = later.shape[1]
        if n_pos < 2:  # noqa: PLR2004  one position differs from no other
            return torch.full((len(later),), torch.nan, dtype=self.streams.dtype)
        lengths = later.norm(dim=-1)
        relative = torch.cdist(later, later) / ((lengths[:, :, None] + lengths[:, None]) / 2)
        others = ~torch.eye(n_pos, dtype=torch.bool)
        spread: Tensor = relative[:, others].mean(-1)
        return spread


def _place(model: Model, inputs: Inputs) -> int | None:
    """Return where predictions are read: nowhere in an encoder without a head or a mask."""
    if model.anatomy.unembed is None:
        return None
    if model.family == "encoder" and model.tokenizer.mask_token_id not in inputs.ids[0].tolist():
        return None
    return reading_position(model, inputs.ids[0], None)


def _streams(one: _Side, two: _Side, pairs: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """Return relative distance and cosine, `layer pair` each."""
    first = one.streams[:, [i for i, _ in pairs]]
    second = two.streams[:, [j for _, j in pairs]]
    lengths = (first.norm(dim=-1) + second.norm(dim=-1)) / 2
    return (first - second).norm(dim=-1) / lengths, torch.cosine_similarity(first, second, dim=-1)


def _patterns(one: _Side, two: _Side, pairs: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """Return the total variation distance of what each head reads, at the last pair and as a mean over all."""
    rows, columns = [i for i, _ in pairs], [j for _, j in pairs]
    found = []
    for first, second in zip(one.patterns, two.patterns, strict=True):
        reads, other = first[:, rows], second[:, columns]
        shared = (reads[..., rows] - other[..., columns]).abs().sum(-1)
        alone = reads.sum(-1) - reads[..., rows].sum(-1) + other.sum(-1) - other[..., columns].sum(-1)
        found.append((shared + alone) / 2)
    distances = torch.stack(found)
    return distances[..., -1], distances.mean(-1)


def _predictions(model: Model, one: _Side, two: _Side) -> tuple[float, pd.DataFrame]:
    if one.logits is None or two.logits is None:
        return float("nan"), pd.DataFrame({name: pd.Series(dtype=object) for name in ("token", "a", "b", "change")})
    first, second = one.logits.log_softmax(-1), two.logits.log_softmax(-1)
    tops = [*first.topk(_SHOWN_TOKENS).indices.tolist(), *second.topk(_SHOWN_TOKENS).indices.tolist()]
    ids = list(dict.fromkeys(tops))
    frame = pd.DataFrame(
        {
            "token": [model.to_text(one_id) for one_id in ids],
            "a": first[ids].exp().tolist(),
            "b": second[ids].exp().tolist(),
        }
    )
    frame["change"] = frame["b"] - frame["a"]
    return float((first.exp() * (first - second)).sum().clamp(min=0)), frame
