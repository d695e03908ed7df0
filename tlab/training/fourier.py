"""Waves in a model of modular addition: which frequencies it uses, and how far it relies on them.

Everything is computed from tables of numbers, from all pairs' logits and from the embedding. Refuses: models.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Int
    from torch import Tensor

__all__ = [
    "excluded",
    "frequency_power",
    "gini",
    "key_frequencies",
    "logit_waves",
    "progress_measures",
    "restricted",
]

_KEY_SHARE = 0.01


def frequency_power(table: Float[Tensor, "number d_model"]) -> Float[Tensor, " frequency"]:
    """Return how much of each frequency 1, 2, … is in the columns of a table with one row a number.

    Power is the squared length of the sine and cosine part together; the constant part is left out.

    Shapes:
        table: an odd number p of rows, such as an embedding of the numbers 0 … p - 1.
        returns: (p - 1) / 2 powers.

    Invariants:
        Their sum is the squared length of the table with its mean row taken away.

    """
    spectrum = torch.fft.rfft(table.double(), dim=0, norm="ortho")[1:]
    power: Tensor = 2 * spectrum.abs().square().sum(dim=1)
    return power


def gini(values: Float[Tensor, " frequency"]) -> float:
    """Return the Gini coefficient: 0 when all values are equal, near 1 when one of many has everything."""
    ordered = values.double().sort().values
    rank = torch.arange(1, len(ordered) + 1, dtype=torch.float64)
    return float((2 * rank - len(ordered) - 1) @ ordered / (len(ordered) * ordered.sum()))


def logit_waves(logits: Float[Tensor, "pair answer"]) -> Float[Tensor, " frequency"]:
    """Return which part of the logits' variance is the wave cos(2πk (a + b - c) / p), for k = 1, 2, ….

    A model that adds with waves gives each answer c a score that depends on a + b - c alone.

    Shapes:
        logits: one row a pair, in the order of a * p + b; one column an answer c.

    """
    modulus = logits.shape[1]
    centred = logits.double() - logits.double().mean(dim=1, keepdim=True)
    numbers = torch.arange(modulus)
    sums = (numbers[:, None] + numbers[None]).flatten()
    by_offset = centred.gather(1, (sums[:, None] + numbers) % modulus).mean(dim=0)
    amplitude = 2 * torch.fft.rfft(by_offset)[1:].real / modulus
    # A wave of amplitude α has the variance α² / 2.
    shares: Tensor = amplitude.square() / 2 / centred.square().mean()
    return shares


def key_frequencies(logits: Float[Tensor, "pair answer"]) -> tuple[int, ...]:
    """Return the frequencies whose wave carries at least 1 % of the logits' variance."""
    shares = logit_waves(logits)
    return tuple((index + 1) for index, share in enumerate(shares.tolist()) if share >= _KEY_SHARE)


def restricted(logits: Float[Tensor, "pair answer"], frequencies: Sequence[int]) -> Float[Tensor, "pair answer"]:
    """Return what of the logits is constant over the pairs or a wave in a + b of the given frequencies."""
    return logits.mean(dim=0) + _waves_in_the_sum(logits, frequencies)


def excluded(logits: Float[Tensor, "pair answer"], frequencies: Sequence[int]) -> Float[Tensor, "pair answer"]:
    """Return the logits without their waves in a + b of the given frequencies."""
    return logits - _waves_in_the_sum(logits, frequencies)


def progress_measures(
    logits: Float[Tensor, "pair answer"],
    embedding: Float[Tensor, "number d_model"],
    keys: Sequence[int],
    *,
    shown: Int[Tensor, "batch 2"],
    hidden: Int[Tensor, "batch 2"],
) -> dict[str, float]:
    """Measure how far a model of modular addition has come, on the way to the frequencies it ends with.

    `restricted_loss` keeps of the logits only the key frequencies, and is taken over all pairs: it falls while the
    periodic solution is built, before the test loss does. `excluded_loss` takes the same frequencies away, and is
    taken over the training pairs: it rises when the model stops relying on what it knows by heart.
    `key_share` is the part of the embedding's power in the key frequencies, `gini` how unequal all frequencies are.

    Args:
        logits: for all pairs, in the order of a * p + b.
        embedding: of the numbers.
        keys: the frequencies of the finished model.
        shown: the training pairs.
        hidden: the test pairs.

    Units:
        Losses in nats.

    Source:
        Nanda et al. (2023), arXiv:2301.05217, section 5.1. They find the key frequencies in the embedding and the
        neurons; ours are those that carry the logits.

    """
    modulus = logits.shape[1]
    power = frequency_power(embedding)
    measures = {}
    for name, pairs in (("train", shown), ("test", hidden)):
        rows = pairs[:, 0] * modulus + pairs[:, 1]
        measures[f"{name}_loss"] = _loss(logits, rows)
        measures[f"{name}_accuracy"] = float((logits[rows].argmax(dim=1) == _answers(rows, modulus)).double().mean())
    everything = torch.arange(modulus * modulus)
    measures["restricted_loss"] = _loss(restricted(logits, keys), everything)
    measures["excluded_loss"] = _loss(excluded(logits, keys), shown[:, 0] * modulus + shown[:, 1])
    measures["key_share"] = float(power[[key - 1 for key in keys]].sum() / power.sum())
    measures["gini"] = gini(power)
    return measures


def _waves_in_the_sum(logits: Float[Tensor, "pair answer"], frequencies: Sequence[int]) -> Float[Tensor, "pair answer"]:
    modulus = logits.shape[1]
    numbers = torch.arange(modulus)
    sums = (numbers[:, None] + numbers[None]).flatten().double()
    angles = 2 * math.pi / modulus * sums[:, None] * torch.tensor(list(frequencies), dtype=torch.float64)
    waves = torch.cat([angles.cos(), angles.sin()], dim=1) * math.sqrt(2) / modulus
    return (waves @ (waves.T @ logits.double())).to(logits.dtype)


def _loss(logits: Float[Tensor, "pair answer"], rows: Int[Tensor, " batch"]) -> float:
    return float(nn.functional.cross_entropy(logits[rows].double(), _answers(rows, logits.shape[1])))


def _answers(rows: Int[Tensor, " batch"], modulus: int) -> Int[Tensor, " batch"]:
    """Return (a + b) mod p of the pairs with these numbers."""
    return (rows // modulus + rows % modulus) % modulus
