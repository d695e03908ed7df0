"""`steering_vector`: a direction in the residual stream, made from what tells two kinds of prompts apart.

Refuses: adding it to anything (`steer`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import torch

from tlab.engine import run
from tlab.errors import UnknownOption, shown
from tlab.experiments.intervention import checked_layer
from tlab.experiments.prompts import inputs_of
from tlab.experiments.wording import counted
from tlab.manifest import experiment
from tlab.plain import whole_number
from tlab.precision import precise
from tlab.references import REFERENCE_PROMPTS
from tlab.results import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float
    from torch import Tensor

    from tlab.models import Model

__all__ = ["SteeringVector", "median_length", "random_direction", "steering_vector"]

_SOURCES = ("activations", "unembedding", "embedding")


@dataclass(frozen=True, eq=False, repr=False)
class SteeringVector(Result):
    """A direction in the residual stream: the mean of some vectors minus the mean of others.

    Args:
        vector: the difference.
        layer: the block after which it was read, and is to be added.
        source: `activations`, or the `unembedding` or `embedding` of tokens.
        position: where in the prompts it was read: a number, or `mean`.
        plus: the prompts, or tokens, that it points to.
        minus: those that it points away from; empty for the mean of all tokens.
        stream_norm: the median length of the stream there, first positions left out, to compare the vector with.
        n_first: how many prompts were read at their first position.
        frame: `side prompt norm projection is_held_out`: where each prompt's own vector lies along the direction that
            the *other* prompts make, counted from the middle of its pair, or of the others if there are no pairs;
            above 0 is towards plus.

    """

    vector: Float[Tensor, " d_model"]
    layer: int
    source: str
    position: int | str
    plus: tuple[str, ...]
    minus: tuple[str, ...]
    stream_norm: float
    n_first: int
    frame: pd.DataFrame

    @property
    def norm(self) -> float:
        """The vector's length."""
        return float(self.vector.norm())

    @property
    def site(self) -> str:
        """Where it is added."""
        return f"blocks.{self.layer}.resid_post"

    @property
    def agreement(self) -> float | None:
        """The share of prompts that lie on their own side of a direction made without them; `None` if none could be."""
        held_out = self.frame[self.frame["is_held_out"]]
        if held_out.empty:
            return None
        signs = held_out["side"].map({"plus": 1.0, "minus": -1.0})
        return float((signs * held_out["projection"] > 0).mean())

    def to_frame(self) -> pd.DataFrame:
        """Return one row a prompt or token."""
        return self.frame.copy()

    def _twin_frame(self) -> pd.DataFrame:
        return self.frame.round(3)

    def explain(self) -> str:
        """Say what the direction was made of, how long it is, and whether the prompts agree on it."""
        kind = "prompt" if self.source == "activations" else "token"
        against = counted(len(self.minus), kind) if self.minus else "the mean of all tokens"
        where = {
            "activations": f"read after block {self.layer} at {self._place()}",
            "unembedding": f"taken from the unembedding, to be added after block {self.layer}",
            "embedding": f"taken from the embedding, to be added after block {self.layer}",
        }[self.source]
        return (
            f"A direction from {against} to {counted(len(self.plus), kind)}, {where}. Its length is {self.norm:.3g}, "
            f"where the stream there has {self.stream_norm:.3g}. {self._agreeing()}{self._at_first()} That a direction "
            f"tells the two apart does not say that the model uses it: add it and see."
        )

    def _place(self) -> str:
        return "all positions but the first, on average" if self.position == "mean" else f"position {self.position}"

    def _agreeing(self) -> str:
        if self.agreement is None:
            return "One pair alone cannot say whether others would give the same direction."
        n_held_out = int(self.frame["is_held_out"].sum())
        return (
            f"Made without it, the direction puts {round(self.agreement * n_held_out)} of {n_held_out} on the side "
            f"that they belong to."
        )

    def _at_first(self) -> str:
        if self.n_first == 0:
            return ""
        return (
            f" Careful: {self.n_first} of the prompts were read at their first position, where many models keep a sink "
            f"for attention whose stream is many times longer than any other; write longer prompts."
        )


@experiment
def steering_vector(
    model: Model,
    plus: str | Sequence[str],
    minus: str | Sequence[str] | None = None,
    *,
    layer: int,
    position: int | Literal["mean"] = -1,
    source: Literal["activations", "unembedding", "embedding"] = "activations",
) -> SteeringVector:
    """Return the direction in the residual stream that leads from one kind of prompt to another.

    The model reads all prompts; the vector is the mean of what stands in the stream for the first kind minus the mean
    for the second. What the prompts have in common cancels; what is left is what they differ in, wanted or not: pairs
    that differ in one thing only make a cleaner direction than many that differ in all.

    Args:
        model: from `load`.
        plus: a prompt or several, where the direction leads to.
        minus: where it comes from. With tokens it may be left out; the mean of all tokens stands for it then.
        layer: the block after which the stream is read.
        position: which position of each prompt, the last by default; or `"mean"` over all but the first, which in many
            models serves as a sink for attention and is many times longer than all others.
        source: `"activations"` for prompts; or `plus` and `minus` are single tokens, and the direction is the
            difference of their rows in the unembedding (which raises the one's logit over the other's) or in the
            embedding.

    Raises:
        UnknownTarget: there is no such layer.
        UnknownOption: a position or a source that is not there, or no prompts.
        UnusablePrompt: a prompt that cannot be read, or a token that is none.

    Cost: one forward pass a prompt, up to the layer's share of the model.

    Example:
        >>> steering_vector(load("smollm2-135m"), "I love this", "I hate this", layer=12).vector.shape
        torch.Size([576])

    Source:
        Rimsky et al., "Steering Llama 2 via Contrastive Activation Addition" (2023), arXiv:2312.06681: means over many
        pairs, as here. Turner et al., "Activation Addition: Steering Language Models Without Optimization" (2023),
        arXiv:2308.10248: one pair; they add a vector of its own to each of the first positions, we add one to all.

    """
    chosen = checked_layer(model, layer)
    if source not in _SOURCES:
        raise UnknownOption(f"source refused: expected one of {', '.join(_SOURCES)}, got {shown(source)}; leave it out")
    above, below = _listed("plus", plus), () if minus is None else _listed("minus", minus)
    if source == "activations":
        if not below:
            raise UnknownOption(
                "minus refused: expected a prompt or several to point away from, got none; "
                "write what the others are to be compared with"
            )
        streams = [_streams(model, prompts, chosen) for prompts in (above, below)]
        sides = [
            torch.stack([_at(stream, position, prompt) for stream, prompt in zip(side, prompts, strict=True)])
            for side, prompts in zip(streams, (above, below), strict=True)
        ]
        every = [stream for side in streams for stream in side]
        lengths = [len(stream) for stream in every]
        n_first = sum(n_pos == 1 or position in {0, -n_pos} for n_pos in lengths)
        # Of texts that are long enough to have positions behind the first.
        read = every if max(lengths) > 1 else _streams(model, REFERENCE_PROMPTS[:1], chosen)
    else:
        n_first = 0
        rows = model.W_U.T if source == "unembedding" else model.W_E
        sides = [_rows(model, rows, tokens) for tokens in (above, below)]
        read = _streams(model, REFERENCE_PROMPTS[:1], chosen)
    return SteeringVector(
        vector=sides[0].mean(0) - sides[1].mean(0),
        layer=chosen,
        source=source,
        position=position,
        plus=above,
        minus=below,
        stream_norm=median_length(read),
        n_first=n_first,
        frame=_sides(above, below, sides),
    )


def random_direction(length: float, width: int, seed: int) -> Float[Tensor, " d_model"]:
    """Return a vector of some length that points anywhere."""
    direction = torch.randn(width, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(direction, dim=0) * length


def median_length(streams: Sequence[Float[Tensor, "pos d_model"]]) -> float:
    """Return the median length of the streams' vectors, the first position left out where there are others."""
    later = [stream[1:] for stream in streams if len(stream) > 1] or list(streams)
    return float(precise(torch.cat(later)).norm(dim=-1).median())


def _listed(name: str, value: Any) -> tuple[str, ...]:  # noqa: ANN401  checked here
    listed = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else ()
    if not listed or not all(isinstance(text, str) for text in listed):
        raise UnknownOption(
            f"{name} refused: expected a text or a list of texts, got {shown(value)}; write ['I love', 'I adore']"
        )
    return listed


def _streams(model: Model, prompts: Sequence[str], layer: int) -> list[Float[Tensor, "pos d_model"]]:
    site = f"blocks.{layer}.resid_post"
    runs = [run(model, inputs_of(model, prompt), sites=[site], predicts=False) for prompt in prompts]
    return [precise(finished.captured[site][0]).cpu() for finished in runs]


def _at(stream: Float[Tensor, "pos d_model"], position: object, prompt: str) -> Float[Tensor, " d_model"]:
    n_pos = len(stream)
    if position == "mean":
        return stream[1:].mean(0) if n_pos > 1 else stream[0]
    repair = f"{shown(prompt)} has {n_pos} tokens; take position=-1 or 'mean'"
    return stream[whole_number("position", position, -n_pos, n_pos - 1, repair)]


def _rows(model: Model, rows: Tensor, tokens: Sequence[str]) -> Float[Tensor, "token d_model"]:
    if not tokens:
        return precise(rows).mean(0, keepdim=True).cpu()
    return precise(rows[[model.to_id(token) for token in tokens]]).cpu()


def _sides(plus: Sequence[str], minus: Sequence[str], sides: Sequence[Tensor]) -> pd.DataFrame:
    """Return each prompt's place along the direction that the others make.

    With as many prompts on both sides the pairs hold together: what the two of a pair share would otherwise count.
    """
    is_paired = len(plus) == len(minus)
    rows = []
    for side, names in enumerate((plus, minus)):
        for index, name in enumerate(names):
            own, other = sides[side], sides[1 - side]
            rest = torch.cat([own[:index], own[index + 1 :]])
            is_held_out = len(rest) > 0
            rest_of_other = torch.cat([other[:index], other[index + 1 :]]) if is_paired and is_held_out else other
            ends = ((rest if is_held_out else own).mean(0), rest_of_other.mean(0))
            towards = ends[0] - ends[1] if side == 0 else ends[1] - ends[0]
            midpoint = (own[index] + other[index]) / 2 if is_paired else (ends[0] + ends[1]) / 2
            rows.append(
                {
                    "side": ("plus", "minus")[side],
                    "prompt": name,
                    "norm": float(own[index].norm()),
                    "projection": float((own[index] - midpoint) @ torch.nn.functional.normalize(towards, dim=0)),
                    "is_held_out": is_held_out,
                }
            )
    return pd.DataFrame(rows)
