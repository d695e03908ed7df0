"""Checkers of the lesson `ablation`. Each runs the reader's answer in the default model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlab.errors import UnknownTarget, shown
from tlab.experiments.ablation import ablate
from tlab.loading import load
from tlab.results import percent
from tlab.targets import parse_targets

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlab.models import Model
    from tlab.targets import Target

__all__ = ["CHECKERS"]

_FACT = "The capital of France is"
_NAMES = "When Mary and John went to the store, John gave a drink to"
_LAYER = 23
# A verdict needs no controls and no other methods beside.
_ALONE: Any = {"controls": 0, "compare_methods": False}


def _single(model: Model, answer: object, part: str, example: str) -> Target:
    if not isinstance(answer, str):
        raise UnknownTarget(
            f"target unknown: expected a name such as {example!r}, got {_kind(answer)}; put it in quotes"
        )
    targets = parse_targets(answer, model.n_layers, model.n_heads)
    if targets[0].part != part:
        raise UnknownTarget(
            f"target of the wrong kind: expected one such as {example!r}, got {shown(answer)}; see the exercise"
        )
    return targets[0]


def _kind(answer: object) -> str:
    # Not its text: an object's own repr may fail.
    return "nothing" if answer is None else f"an object of type {type(answer).__name__}"


def _head_that_reads_france(answer: object) -> tuple[bool, str]:
    """Any head whose removal alone costs ' Paris' at least half of its probability, in the layer under study."""
    model = load()
    head = _single(model, answer, "head", "L7H0")
    if head.layer != _LAYER:
        return False, f"{head} is in layer {head.layer}; look among the nine heads of the layer of exercise 1."
    result = ablate(model, _FACT, str(head), method="mean", **_ALONE)
    before, after = percent(result.clean_probability), percent(result.patched_probability)
    if result.patched_probability < result.clean_probability / 2:
        return True, f"Without {head}, ' Paris' falls from {before} to {after}: most of what the layer does here."
    return False, (
        f"Without {head}, ' Paris' only goes from {before} to {after}. Try the others: one of them costs far more."
    )


def _mlp_that_zero_wrongs(answer: object) -> tuple[bool, str]:
    """Any MLP after layer 2 that looks vital under zero ablation and is not under mean ablation."""
    model = load()
    mlp = _single(model, answer, "mlp", "L7.mlp")
    earliest, of_the_lesson = 3, 11
    if mlp.layer == of_the_lesson:
        return False, f"{mlp} is the lesson's own example; find another one."
    if mlp.layer < earliest:
        return False, f"{mlp} is one of the first three; removing those harms nearly every prompt. Look further up."
    zero = ablate(model, _FACT, str(mlp), method="zero", **_ALONE)
    mean = ablate(model, _FACT, str(mlp), method="mean", **_ALONE)
    told = f"Zero leaves ' Paris' {percent(zero.patched_probability)}, mean {percent(mean.patched_probability)}"
    if zero.patched_probability < zero.clean_probability / 10 and mean.patched_token == zero.token:
        return True, f"{told}: under zero ablation {mlp} looks vital, under mean ablation the answer survives."
    return False, f"{told}. Look for an MLP where zero destroys the answer and mean keeps ' Paris' first."


def _both_prompts(answer: object) -> tuple[bool, str]:
    """Any attention layer after layer 2 whose removal costs both prompts half of their answer or more."""
    model = load()
    layer = _single(model, answer, "attn", "L7.attn")
    earliest = 3
    if layer.layer < earliest:
        return False, f"{layer} is one of the first three, which prepare every token. Look further up."
    results = [ablate(model, prompt, str(layer), method="mean", **_ALONE) for prompt in (_FACT, _NAMES)]
    told = " and ".join(
        f"{result.token!r} goes from {percent(result.clean_probability)} to {percent(result.patched_probability)}"
        for result in results
    )
    if all(result.patched_probability < result.clean_probability / 2 for result in results):
        return True, f"Without {layer}, {told}: both tasks pass through it."
    return False, f"Without {layer}, {told}. Both should lose at least half."


CHECKERS: dict[str, Callable[[object], tuple[bool, str]]] = {
    "the-layer-both-tasks-need": _both_prompts,
    "the-head-that-reads-france": _head_that_reads_france,
    "the-mlp-that-zero-wrongs": _mlp_that_zero_wrongs,
}
