"""What a circuit is for: pairs of prompts, and a number for each that tells the clean run from the corrupted one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tlab.engine import run
from tlab.errors import UnequalPrompts, UnknownOption, UnusablePrompt, shown
from tlab.experiments.pairs import pair_of
from tlab.experiments.patching import answer_of
from tlab.experiments.paths import check_sums
from tlab.metrics import checked_metric, logit, logit_diff

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jaxtyping import Float, Int
    from torch import Tensor

    from tlab.experiments.pairs import Pair
    from tlab.metrics import Metric
    from tlab.models import Model

__all__ = ["Task", "task_of"]


@dataclass(frozen=True, eq=False)
class Task:
    """Pairs of prompts of one length, and what is measured.

    Args:
        clean_texts: the clean prompts.
        corrupted_texts: the corrupted ones.
        clean: ids.
        corrupted: ids.
        metrics: one a pair.
        label: the metric in words.
        unit: what it is counted in.
        reads: the positions at which logits are needed.
        measures: one a pair, from logits `row read d_vocab` to one number a row.
        clean_values: of the metric in each clean run.
        corrupted_values: likewise.

    """

    clean_texts: tuple[str, ...]
    corrupted_texts: tuple[str, ...]
    clean: Int[Tensor, "pair pos"]
    corrupted: Int[Tensor, "pair pos"]
    metrics: tuple[Metric, ...]
    label: str
    unit: str
    reads: tuple[int, ...]
    measures: tuple[Callable[[Tensor], Tensor], ...]
    clean_values: Float[Tensor, " pair"]
    corrupted_values: Float[Tensor, " pair"]

    @property
    def n_pairs(self) -> int:
        """How many pairs there are."""
        return len(self.clean_texts)

    @property
    def n_pos(self) -> int:
        """How many tokens each prompt has."""
        return int(self.clean.shape[1])

    def measure(self, logits: Float[Tensor, "row read d_vocab"], first: int) -> Float[Tensor, " row"]:
        """Measure rows that are the pairs from `first` on, in order."""
        values = [self.measures[first + place](row[None]) for place, row in enumerate(logits)]
        return torch.cat(values)

    def share(self, value: float) -> float:
        """Return how much of the difference between the runs a mean value has: 0 the corrupted run's, 1 the clean's."""
        low, high = float(self.corrupted_values.mean()), float(self.clean_values.mean())
        return float("nan") if low == high else (value - low) / (high - low)


def task_of(
    model: Model,
    clean: str | Sequence[str],
    corrupted: str | Sequence[str],
    metric: Metric | Sequence[Metric] | None,
) -> Task:
    """Return the task of some pairs of prompts.

    Args:
        model: from `load`; its stream must be the sum of what its parts write.
        clean: one prompt or several.
        corrupted: as many.
        metric: one for all pairs, or one for each; by default each pair's logit difference between the clean and the
            corrupted run's answer.

    Raises:
        UnequalPrompts: the prompts have different numbers of tokens.
        UnusablePrompt: there is none, one cannot be read, an encoder's holds no mask, or the model is an
            encoder-decoder.
        UnknownOption: another metric, or a model that norms its stream after each addition.

    """
    texts = _listed(clean, "clean"), _listed(corrupted, "corrupted")
    if len(texts[0]) != len(texts[1]):
        raise UnequalPrompts(
            f"prompts unequal: expected as many corrupted prompts as clean ones, got {len(texts[1])} and "
            f"{len(texts[0])}; give them in pairs"
        )
    pairs = [pair_of(model, *both) for both in zip(*texts, strict=True)]
    check_sums(model)
    lengths = {pair.n_pos for pair in pairs}
    if len(lengths) > 1:
        raise UnequalPrompts(
            f"prompts unequal: expected as many tokens in all pairs, got {min(lengths)} to {max(lengths)}; "
            f"a circuit is run on all of them at once: leave out the others"
        )
    metrics = _answers(model, pairs) if metric is None else _metrics(metric, len(pairs))
    reads = metrics[0].reads(model, pairs[0].clean)
    of_all = (
        one.reads(model, ids) for pair, one in zip(pairs, metrics, strict=True) for ids in (pair.clean, pair.corrupted)
    )
    if any(own != reads for own in of_all):
        raise UnknownOption("metric refused: expected one position for all pairs, got several; measure them apart")
    return _measured(model, texts, pairs, metrics, reads=reads, label=_label(model, metric, metrics))


def _measured(
    model: Model,
    texts: tuple[tuple[str, ...], tuple[str, ...]],
    pairs: Sequence[Pair],
    metrics: tuple[Metric, ...],
    *,
    reads: tuple[int, ...],
    label: str,
) -> Task:
    measures, clean_values, corrupted_values = [], [], []
    for pair, one in zip(pairs, metrics, strict=True):
        logits = run(model, pair.clean, read=reads).logits
        measures.append(one.bind(model, pair.clean, logits[0]))
        clean_values.append(measures[-1](logits))
        corrupted_values.append(measures[-1](run(model, pair.corrupted, read=reads).logits))
    return Task(
        clean_texts=texts[0],
        corrupted_texts=texts[1],
        clean=torch.stack([pair.clean for pair in pairs]),
        corrupted=torch.stack([pair.corrupted for pair in pairs]),
        metrics=metrics,
        label=label,
        unit=metrics[0].unit,
        reads=reads,
        measures=tuple(measures),
        clean_values=torch.cat(clean_values).cpu(),
        corrupted_values=torch.cat(corrupted_values).cpu(),
    )


def _listed(texts: object, name: str) -> tuple[str, ...]:
    found = (texts,) if isinstance(texts, str) else tuple(texts) if isinstance(texts, Iterable) else ()
    if not found:
        raise UnusablePrompt(
            f"prompts unusable: expected one or several at {name}, got {shown(texts)}; try 'The capital of France is'"
        )
    return found


def _answers(model: Model, pairs: Sequence[Pair]) -> tuple[Metric, ...]:
    """Return each pair's logit difference between the clean and the corrupted run's likeliest next token."""
    found = []
    for pair in pairs:
        clean, other = (answer_of(model, ids) for ids in (pair.clean, pair.corrupted))
        found.append(logit(clean) if clean == other else logit_diff(clean, other))
    return tuple(found)


def _metrics(metric: object, n_pairs: int) -> tuple[Metric, ...]:
    given = tuple(metric) if isinstance(metric, (list, tuple)) else (metric,) * n_pairs
    if len(given) != n_pairs:
        raise UnknownOption(
            f"metric refused: expected one, or one for each of {n_pairs} pairs, got {len(given)}; "
            f"leave it out to follow each pair's own answers"
        )
    return tuple(checked_metric(one) for one in given)


def _label(model: Model, metric: object, metrics: Sequence[Metric]) -> str:
    if len(set(metrics)) > 1:
        return "logit difference of each pair's answers" if metric is None else "metric of each pair"
    one = metrics[0]
    if metric is not None or not isinstance(one.pos, int):
        return one.label
    texts = [model.to_text(token) for token in (one.pos, one.neg) if isinstance(token, int)]
    return (logit(texts[0]) if len(texts) == 1 else logit_diff(*texts)).label
