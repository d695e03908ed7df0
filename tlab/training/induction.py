"""`toy-induction`: two attention layers that learn to repeat what they have just read.

Owns the data, the configuration, the training, and the measures of its heads. Refuses: other models' heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import nn

from tlab.training.fitting import Plan, fit, seeded
from tlab.training.modelling import ToyConfig, ToyForCausalLM
from tlab.training.recording import Trained
from tlab.training.vocabulary import word_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Bool, Float, Int
    from torch import Tensor

__all__ = ["PLAN", "WORDS", "Batch", "HeadScores", "chain", "draw", "head_scores", "losses", "repeats", "train"]

_WORDS = (
    "ant arm axe bag bat bed bee bell bird boat bone book bowl boy bread bus "
    "cake cat chair cloud coat corn cow cup dog door drum duck egg eye fan fish "
    "foot fork fox frog gate girl goat gold hand hat hill horse jar key king lake "
    "lamp leaf lion map milk moon nest nut owl pen pig pot ring rose ship sun"
)
WORDS = tuple(_WORDS.split())

PLAN = Plan(
    steps=4000,
    learning_rate=1e-2,
    weight_decay=0.01,
    warmup_steps=50,
    final_fraction=0.5,
    measured_every=40,
)

_LENGTH = 64
_BATCH = 32
_SHORTEST, _LONGEST = 8, 30
_CONTRAST = 2.0
_MEASURED = 256
_TABLE_SEED = 113


@dataclass(frozen=True, eq=False)
class Batch:
    """Sequences from a chain of words, into each of which one random phrase was written twice.

    Args:
        ids: the sequences.
        first: whether a position's word is predicted inside the phrase's first occurrence.
        second: the same for its second; the first word of either is predicted by nothing and belongs to neither.

    """

    ids: Int[Tensor, "batch pos"]
    first: Bool[Tensor, "batch pos"]
    second: Bool[Tensor, "batch pos"]


@dataclass(frozen=True, eq=False)
class HeadScores:
    """How much attention each head pays, on a phrase said twice, to two places.

    Args:
        previous_token: to the position just before.
        induction: from the second occurrence of a word to the word after its first.

    """

    previous_token: Float[Tensor, "layer head"]
    induction: Float[Tensor, "layer head"]


def train(*, steps: int | None = None, seed: int = 0, report: Callable[[int, float], None] | None = None) -> Trained:
    """Train on chains of words with repeated random phrases.

    Which word tends to follow which is a fixed table, and is learned first. It says nothing about the phrases. Their
    second occurrence stays unpredictable until a head in layer 0 brings each position the word before it, and a head
    in layer 1 looks for the position whose previous word is the present one: then its loss falls within a few hundred
    steps.

    Cost: 0.05 s a step on one core, measuring included; 4,000 steps take about 4 minutes.

    Source:
        Olsson et al., "In-context learning and induction heads" (2022), arXiv:2209.11895; Elhage et al., "A
        mathematical framework for transformer circuits" (2021), Transformer Circuits Thread.

    """
    table = chain()
    with seeded(seed) as generator:
        # Measured on what is drawn before training, so that a shorter training is measured on the same.
        held_out, twice = draw(_MEASURED, table, generator), repeats(_MEASURED // 8, generator)
        model = ToyForCausalLM(_configuration())
        model.set_attn_implementation("eager")
        fitted = fit(
            model, lambda: _losses(model, draw(_BATCH, table, generator)).mean(), PLAN, steps=steps, report=report
        )
    rows = []
    for step, weights in fitted.history.items():
        model.load_state_dict(weights)
        scores = head_scores(model, twice)
        rows.append(
            {
                "step": step,
                **losses(model, held_out),
                "previous_token": float(scores.previous_token[0].max()),
                "induction": float(scores.induction[1].max()),
            }
        )
    return Trained(
        name="toy-induction",
        parts=(model, word_tokenizer(WORDS)),
        plan=PLAN,
        seed=seed,
        settings={
            "batch": _BATCH,
            "length": _LENGTH,
            "phrase": [_SHORTEST, _LONGEST],
            "table_seed": _TABLE_SEED,
            "table_contrast": _CONTRAST,
        },
        watched="loss_second",
        frame=pd.DataFrame(rows),
        fitted=fitted,
    )


def chain() -> Float[Tensor, "word next_word"]:
    """Return the table of which word follows which: probabilities, the same for every training."""
    noise = torch.randn(len(WORDS), len(WORDS), generator=torch.Generator().manual_seed(_TABLE_SEED))
    return (_CONTRAST * noise).softmax(dim=1)


def draw(n: int, table: Float[Tensor, "word next_word"], generator: torch.Generator) -> Batch:
    """Draw `n` sequences of 64 words, each with a random phrase of 8 to 30 different words written into it twice."""
    ids = _walk(n, table, generator)
    length = torch.randint(_SHORTEST, _LONGEST + 1, (n, 1), generator=generator)
    free = _LENGTH - 2 * length
    start = (torch.rand(n, 1, generator=generator) * (free + 1)).long()
    again = start + length + (torch.rand(n, 1, generator=generator) * (free - start + 1)).long()
    phrase = _distinct(n, generator)
    position = torch.arange(_LENGTH)[None]
    inside = []
    for begin in (start, again):
        offset = position - begin
        covered = (offset >= 0) & (offset < length)
        ids = torch.where(covered, phrase.gather(1, offset.clamp(min=0)), ids)
        inside.append(covered & (offset > 0))
    return Batch(ids=ids, first=inside[0], second=inside[1])


def repeats(n: int, generator: torch.Generator) -> Int[Tensor, "batch pos"]:
    """Return `n` sequences of 32 different words in random order, each said twice."""
    half = _distinct(n, generator)[:, : _LENGTH // 2]
    return torch.cat([half, half], dim=1)


def losses(model: ToyForCausalLM, batch: Batch) -> dict[str, float]:
    """Return the loss in nats: over everything, in the phrases' first and second occurrence, and in the chain."""
    each = _losses(model, batch).detach()
    first, second = batch.first[:, 1:], batch.second[:, 1:]
    rest = ~_touched(batch)[:, 1:]
    return {
        "loss": float(each.mean()),
        "loss_first": float(each[first].mean()),
        "loss_second": float(each[second].mean()),
        "loss_chain": float(each[rest].mean()),
    }


def head_scores(model: ToyForCausalLM, twice: Int[Tensor, "batch pos"]) -> HeadScores:
    """Return two scores of every head, on sequences whose second half repeats the first.

    The induction score averages the attention from each position of the second half to the one after the same word's
    first occurrence. A head that spreads its attention evenly scores about 0.02, a perfect one 1.

    Source:
        Olsson et al. (2022), arXiv:2209.11895: our induction score is their prefix matching score.

    """
    period = twice.shape[1] // 2
    patterns = torch.stack(model(twice, output_attentions=True).attentions).detach()
    previous = patterns.diagonal(offset=-1, dim1=-2, dim2=-1)
    following = patterns.diagonal(offset=1 - period, dim1=-2, dim2=-1)[..., 1:]
    return HeadScores(previous_token=previous.mean(dim=(1, 3)), induction=following.mean(dim=(1, 3)))


def _losses(model: ToyForCausalLM, batch: Batch) -> Float[Tensor, "batch pos"]:
    logits, targets = model(batch.ids).logits[:, :-1], batch.ids[:, 1:]
    return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)


def _walk(n: int, table: Float[Tensor, "word next_word"], generator: torch.Generator) -> Int[Tensor, "batch pos"]:
    words = [torch.randint(len(WORDS), (n,), generator=generator)]
    for _ in range(_LENGTH - 1):
        words.append(torch.multinomial(table[words[-1]], 1, generator=generator)[:, 0])
    return torch.stack(words, dim=1)


def _distinct(n: int, generator: torch.Generator) -> Int[Tensor, "batch word"]:
    """Return all words in `n` random orders."""
    return torch.rand(n, len(WORDS), generator=generator).argsort(dim=1)


def _touched(batch: Batch) -> Bool[Tensor, "batch pos"]:
    """Return the positions that a phrase decides: its words, and the chain's word after it."""
    inside = batch.first | batch.second
    begins = inside.roll(-1, dims=1) & ~inside
    ends = inside.roll(1, dims=1) & ~inside
    return inside | begins | ends


def _configuration() -> ToyConfig:
    return ToyConfig(
        vocab_size=len(WORDS) + 1,  # and one for every other word
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        head_dim=16,
        max_position_embeddings=_LENGTH,
        initializer_range=0.1,
    )
