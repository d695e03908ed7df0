"""`toy-modular-addition`: one layer that learns a + b modulo 113, first by heart and then, long after, by rule.

Owns the data, the configuration and the training. What the weights turned into is measured in
`tlab.training.fourier`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import nn

from tlab.training.fitting import Plan, fit, seeded
from tlab.training.fourier import key_frequencies, progress_measures
from tlab.training.modelling import ToyConfig, ToyForCausalLM
from tlab.training.recording import Trained
from tlab.training.vocabulary import word_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Int
    from torch import Tensor

__all__ = ["MODULUS", "PLAN", "all_pairs", "answer_logits", "split", "train"]

MODULUS = 113
_EQUALS = MODULUS
_TRAIN_FRACTION = 0.3
_WIDTH = 128

PLAN = Plan(
    steps=10_000,
    learning_rate=2e-3,
    weight_decay=1.0,
    measured_every=100,
)


def train(*, steps: int | None = None, seed: int = 0, report: Callable[[int, float], None] | None = None) -> Trained:
    """Train on 30 % of all pairs, in one batch, with strong weight decay.

    The model soon answers every pair that it was shown and none of the others. Weight decay goes on pulling at the
    memorised solution, and the periodic one, which costs less weight, takes over: test accuracy rises long after
    training accuracy did.

    Cost: 0.07 s a step on one core; 10,000 steps take 15 minutes.

    Source:
        Nanda, Chan, Lieberum, Smith and Steinhardt, "Progress measures for grokking via mechanistic interpretability"
        (2023), arXiv:2301.05217. Our layer has no norm, and no biases in attention, as theirs.

    """
    with seeded(seed) as generator:
        shown, hidden = split(generator)
        model = ToyForCausalLM(_configuration())
        answers = shown.sum(dim=1) % MODULUS
        fitted = fit(model, lambda: _loss(answer_logits(model, shown), answers), PLAN, steps=steps, report=report)
    logits = answer_logits(model, all_pairs()).detach()
    keys = key_frequencies(logits)
    rows = []
    for step, weights in fitted.history.items():
        model.load_state_dict(weights)
        measures = progress_measures(
            answer_logits(model, all_pairs()).detach(),
            model.model.embed_tokens.weight.detach()[:MODULUS],
            keys,
            shown=shown,
            hidden=hidden,
        )
        norm = sum(float(weight.square().sum()) for weight in weights.values())
        rows.append({"step": step, **measures, "weight_norm": norm**0.5})
    frame = pd.DataFrame(rows)
    return Trained(
        name="toy-modular-addition",
        parts=(model, word_tokenizer(_tokens())),
        plan=PLAN,
        seed=seed,
        settings={"modulus": MODULUS, "train_fraction": _TRAIN_FRACTION, "key_frequencies": list(keys)},
        watched="test_accuracy",
        frame=frame,
        fitted=fitted,
    )


def all_pairs() -> Int[Tensor, "batch 2"]:
    """Return every pair (a, b), in the order of `a * 113 + b`."""
    numbers = torch.arange(MODULUS)
    return torch.cartesian_prod(numbers, numbers)


def split(generator: torch.Generator) -> tuple[Int[Tensor, "batch 2"], Int[Tensor, "batch 2"]]:
    """Return the pairs that training shows, and those that it hides."""
    pairs = all_pairs()
    order = torch.randperm(len(pairs), generator=generator)
    n_shown = int(_TRAIN_FRACTION * len(pairs))
    return pairs[order[:n_shown]], pairs[order[n_shown:]]


def answer_logits(model: ToyForCausalLM, pairs: Int[Tensor, "batch 2"]) -> Float[Tensor, "batch answer"]:
    """Return the scores of the 113 answers after `a b =`.

    Only the last position is computed, and keys and values once for each number and place instead of once for each
    pair: a fifth of the time of the whole model.

    Invariants:
        Equal to the model's own logits at the last position, up to rounding.

    """
    decoder = model.model
    layer = decoder.layers[0]
    attention = layer.self_attn
    width = (-1, model.config.num_attention_heads, attention.head_dim)
    numbers, places = decoder.embed_tokens.weight, decoder.embed_positions.weight
    streams = (numbers[:_EQUALS] + places[0], numbers[:_EQUALS] + places[1], numbers[_EQUALS : _EQUALS + 1] + places[2])
    query = attention.q_proj(streams[2]).view(width)
    picks = (pairs[:, 0], pairs[:, 1], torch.zeros(len(pairs), dtype=torch.int64))
    scores, values = [], []
    for stream, pick in zip(streams, picks, strict=True):
        score = (attention.k_proj(stream).view(width) * query).sum(dim=-1) * attention.scaling
        scores.append(score[pick])
        values.append(attention.v_proj(stream).view(width)[pick])
    pattern = torch.stack(scores).softmax(dim=0)
    mixed = sum(weight[..., None] * value for weight, value in zip(pattern, values, strict=True))
    stream = streams[2] + attention.o_proj(mixed.flatten(start_dim=1))
    stream = stream + layer.mlp(stream)
    logits: Tensor = model.lm_head(stream)[:, :MODULUS]
    return logits


def _configuration() -> ToyConfig:
    return ToyConfig(
        vocab_size=len(_tokens()) + 1,  # and one for every other word
        hidden_size=_WIDTH,
        num_hidden_layers=1,
        num_attention_heads=4,
        head_dim=_WIDTH // 4,
        intermediate_size=4 * _WIDTH,
        max_position_embeddings=3,
        initializer_range=_WIDTH**-0.5,
    )


def _loss(logits: Float[Tensor, "batch answer"], answers: Int[Tensor, " batch"]) -> Tensor:
    # In float32 the logarithm of a probability near 1 is 0 before training is over, and its gradient noise.
    return nn.functional.cross_entropy(logits.double(), answers)


def _tokens() -> list[str]:
    return [*(str(number) for number in range(MODULUS)), "="]
