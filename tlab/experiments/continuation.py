"""A text that goes on: how the next token is chosen, and what is known of each that was.

Refuses: results. They are for the experiments that let a model continue a text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tlab.engine.decoding import Decoding, stop_ids
from tlab.errors import UnknownOption, UnusablePrompt, shown
from tlab.experiments.prompts import inputs_of
from tlab.plain import finite_number, whole_number
from tlab.precision import precise

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from tlab.engine import Inputs
    from tlab.experiments.intervention import Interventions
    from tlab.models import Model

__all__ = ["GeneratedToken", "Sampling", "beginning", "continuation_text", "continue_text", "stopped_by"]


@dataclass(frozen=True)
class GeneratedToken:
    """One step of a generation.

    Args:
        pos: the position that the token takes.
        token_id: which token it is.
        token: the text that it stands for.
        probability: that the model gave it, before temperature and cuts.
        rank: of that probability; 1 is the likeliest.
        drawn_probability: with which it was drawn, after temperature and cuts; 1 if nothing was drawn.
        entropy_nats: how open the choice was, in the model's own distribution.
        alternatives: the likeliest tokens of the step with their probabilities.

    """

    pos: int
    token_id: int
    token: str
    probability: float
    rank: int
    drawn_probability: float
    entropy_nats: float
    alternatives: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen.

    Args:
        temperature: what the logits are divided by; at 0 the likeliest token is taken.
        top_k: only so many of the likeliest tokens are drawn from.
        top_p: only the likeliest tokens that together have this probability are drawn from.
        seed: of the draws.

    Raises:
        UnknownOption: a value cannot be used.

    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if finite_number("temperature", self.temperature) < 0:
            raise UnknownOption(
                f"temperature refused: expected 0 or more, got {shown(self.temperature)}; 0 takes the likeliest token"
            )
        if self.top_k is not None:
            whole_number("top_k", self.top_k, 1, 2**31, "leave it out to draw from all tokens")
        if self.top_p is not None and not 0 < finite_number("top_p", self.top_p) <= 1:
            raise UnknownOption(
                f"top_p refused: expected a probability above 0 and at most 1, got {shown(self.top_p)}; try top_p=0.9"
            )
        whole_number("seed", self.seed, 0, 2**63 - 1, "try seed=0")

    def choose(self, logits: Tensor, generator: torch.Generator) -> tuple[int, float]:
        """Return the next token and the probability with which it was drawn.

        Shapes:
            logits: `d_vocab`
        """
        if self.temperature == 0:
            return int(logits.argmax()), 1.0
        probabilities = self.distribution(logits)
        token_id = int(torch.multinomial(probabilities, 1, generator=generator))
        return token_id, float(probabilities[token_id])

    def distribution(self, logits: Tensor) -> Tensor:
        """Return the probabilities that are drawn from: temperature first, then the cuts.

        Shapes:
            logits: `d_vocab`
        """
        scores = logits / self.temperature
        if self.top_k is not None:
            least = scores.topk(min(self.top_k, len(scores))).values[-1]
            scores = scores.masked_fill(scores < least, -math.inf)
        if self.top_p is not None and self.top_p < 1:
            ascending, order = scores.sort()
            is_cut = ascending.softmax(-1).cumsum(-1) <= 1 - self.top_p
            is_cut[-1] = False
            scores = scores.masked_fill(torch.zeros_like(is_cut).scatter(0, order, is_cut), -math.inf)
        return scores.softmax(-1)


def beginning(model: Model, prompt: str, target: str | None = None) -> Inputs:
    """Return what the model goes on from: the prompt, or in an encoder-decoder what its decoder begins with.

    Raises:
        UnusablePrompt: the model is an encoder, or the prompt cannot be read.

    """
    if model.family == "encoder":
        raise UnusablePrompt(
            f"nothing to continue: expected a model that predicts the next token, got the encoder {shown(model.name)}, "
            f"which reads to both sides; take a model such as 'smollm2-135m'"
        )
    model.check_predicts()
    return inputs_of(model, prompt, target=target)


def continue_text(
    model: Model, inputs: Inputs, changes: Interventions, sampling: Sampling, *, n_most: int, n_shown: int
) -> Iterator[GeneratedToken]:
    """Yield token after token until the model ends the text, `n_most` are there, or the context is full.

    Args:
        model: from `load`.
        inputs: what it goes on from, one row.
        changes: the edits of every pass.
        sampling: how tokens are chosen.
        n_most: how many at most.
        n_shown: how many alternatives of each step are told.

    """
    decoding = Decoding(model, inputs, changes, is_incremental=changes.is_incremental)
    generator = torch.Generator().manual_seed(sampling.seed)
    ids, ends = inputs.ids, stop_ids(model)
    for _ in range(n_most):
        if ids.shape[1] > model.n_ctx:
            return
        logits = precise(decoding.next_logits(ids)[0]).cpu()
        token_id, drawn_probability = sampling.choose(logits, generator)
        yield _told(model, logits, token_id, drawn_probability, pos=ids.shape[1], n_shown=n_shown)
        if token_id in ends:
            return
        ids = torch.cat([ids, ids.new_tensor([[token_id]])], dim=1)


def stopped_by(model: Model, steps: Sequence[GeneratedToken], n_most: int) -> str:
    """Return why a text ends where it does: `end`, `length` or `context`."""
    if steps and steps[-1].token_id in stop_ids(model):
        return "end"
    return "length" if len(steps) == n_most else "context"


def continuation_text(model: Model, inputs: Inputs, steps: Sequence[GeneratedToken]) -> str:
    """Return the text of the generated tokens, without the mark that ends it.

    Characters may be made of several tokens, so that the tokens' own texts need not add up to it.
    """
    ends = stop_ids(model)
    new = [step.token_id for step in steps if step.token_id not in ends]
    if model.family == "decoder":
        old = inputs.ids[0].tolist()
        before, whole = str(model.tokenizer.decode(old)), str(model.tokenizer.decode([*old, *new]))
        if whole.startswith(before):
            return whole[len(before) :]
    return str(model.tokenizer.decode(new))


def _told(
    model: Model, logits: Tensor, token_id: int, drawn_probability: float, *, pos: int, n_shown: int
) -> GeneratedToken:
    probabilities = logits.softmax(-1)
    top = probabilities.topk(min(n_shown, len(probabilities)))
    return GeneratedToken(
        pos=pos,
        token_id=token_id,
        token=model.to_text(token_id),
        probability=float(probabilities[token_id]),
        rank=int((probabilities > probabilities[token_id]).sum()) + 1,
        drawn_probability=drawn_probability,
        entropy_nats=float(torch.special.entr(probabilities).sum()),
        alternatives=tuple(
            (model.to_text(one), probability)
            for one, probability in zip(top.indices.tolist(), top.values.tolist(), strict=True)
        ),
    )
