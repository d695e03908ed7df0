"""Pairs of prompts and what is measured on each, for the programs about circuits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tlab.code.dialects.dialect import fitted
from tlab.code.metrics import metric_lines, token_id
from tlab.code.recipes.pieces import ids_line
from tlab.code.script import Chunk
from tlab.errors import UnknownOption, UnusablePrompt, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlab.code.dialects.dialect import Dialect
    from tlab.code.request import Request

__all__ = ["followed", "pairs_of", "prompts"]

_LOGITS = {"logit", "logit_diff"}


def prompts(clean: object, corrupted: object, say: Dialect) -> tuple[Chunk, int]:
    """Return lists of prompts and their ids, and how many pairs there are.

    Raises:
        UnusablePrompt: there is none, one is no text, or they do not come in pairs.

    """
    texts = {"clean": _texts("clean", clean), "corrupted": _texts("corrupted", corrupted)}
    if len(texts["clean"]) != len(texts["corrupted"]):
        raise UnusablePrompt(
            f"prompts unusable: expected as many corrupted prompts as clean ones, got {len(texts['corrupted'])} and "
            f"{len(texts['clean'])}; give them in pairs"
        )
    lines = [line for name, given in texts.items() for line in fitted(f"{name} = [", [repr(t) for t in given], "]")]
    lines += [ids_line(f"{name}_ids", name, say) for name in texts]
    return Chunk("Prompts in pairs, all of the same length in tokens: [pair pos].", lines), len(texts["clean"])


def followed(metric: object, n_pairs: int, say: Dialect) -> Chunk:
    """Return the definition of `metric(logits, pair)`.

    Args:
        metric: one of tlab's metrics, or one for each pair; `None` for the pairs' own answers.
        n_pairs: how many pairs there are.
        say: the dialect.

    Raises:
        UnknownOption: it is none of them, or the pairs are measured in different ways.

    """
    if metric is None:
        return Chunk(
            "What is followed: how much higher the clean run's answer has its logit than the corrupted run's.",
            [
                'right = [int(run["logits"][-1].argmax()) for run in clean_runs]',
                'wrong = [int(run["logits"][-1].argmax()) for run in corrupted_runs]',
                "",
                "def metric(logits, pair):",
                "    if right[pair] == wrong[pair]:  # both runs give the same answer",
                "        return logits[-1, right[pair]]",
                "    return logits[-1, right[pair]] - logits[-1, wrong[pair]]",
            ],
        )
    listed: list[Any] = list(metric) if isinstance(metric, list | tuple) else [metric] * n_pairs
    # This refuses what is no metric.
    says = [metric_lines(one, say, plain="", answer="", ids="")[0] for one in listed]
    kinds, places = {one.kind for one in listed}, {-1 if one.position is None else one.position for one in listed}
    if len(listed) != n_pairs or len(places) > 1 or (len(kinds) > 1 and kinds != _LOGITS):
        raise UnknownOption(
            f"metric refused: expected one of one kind and position for each of {n_pairs} pairs, got {shown(metric)}; "
            f"measure the pairs apart"
        )
    return Chunk(f"What is followed: {says[0]}.", _lines(listed, kinds, places.pop(), say))


def pairs_of(ask: Request, circuit: object) -> tuple[Any, Any, Any]:
    """Return the prompts that a circuit is measured on, and the metric: its own, if the call gives none."""
    metric = ask.value("metric")
    if ask.has("clean") != ask.has("corrupted"):
        raise UnknownOption("prompts refused: expected clean and corrupted ones, got only one of them; give both")
    if ask.has("clean"):
        return ask.value("clean"), ask.value("corrupted"), metric
    own = getattr(circuit, "metrics", None)
    return getattr(circuit, "clean", None), getattr(circuit, "corrupted", None), own if metric is None else metric


def _lines(metrics: Sequence[Any], kinds: set[str], at: int, say: Dialect) -> list[str]:
    if kinds == {"loss"}:
        return [
            "def metric(logits, pair):",
            "    return torch.nn.functional.cross_entropy(logits[:-1], clean_ids[pair, 1:])",
        ]
    if kinds == {"kl"}:
        return [
            f'expected = [run["logits"][{at}].log_softmax(-1) for run in clean_runs]',
            "",
            "def metric(logits, pair):",
            f"    return (expected[pair].exp() * (expected[pair] - logits[{at}].log_softmax(-1))).sum()",
        ]
    tokens = [token_id(one.pos, say) for one in metrics]
    if kinds == {"prob"}:
        return [
            *_per_pair("token", tokens),
            "",
            "def metric(logits, pair):",
            f"    return logits[{at}].softmax(-1)[token[pair]]",
        ]
    if kinds == {"logit"}:
        return [*_per_pair("token", tokens), "", "def metric(logits, pair):", f"    return logits[{at}, token[pair]]"]
    others = [None if one.kind == "logit" else token_id(one.neg, say) for one in metrics]
    one_answer = [
        "    if wrong[pair] is None:  # both runs give the same answer",
        f"        return logits[{at}, right[pair]]",
    ]
    return [
        *_per_pair("right", tokens),
        *_per_pair("wrong", [str(other) for other in others]),
        "",
        "def metric(logits, pair):",
        *(one_answer if None in others else []),
        f"    return logits[{at}, right[pair]] - logits[{at}, wrong[pair]]",
    ]


def _per_pair(name: str, values: Sequence[str]) -> list[str]:
    """Return a list with one entry for each pair."""
    if len(values) > 1 and len(set(values)) == 1:
        return [f"{name} = {len(values)} * [{values[0]}]"]
    return fitted(f"{name} = [", values, "]")


def _texts(name: str, value: object) -> list[str]:
    found = [value] if isinstance(value, str) else list(value) if isinstance(value, Iterable) else []
    if not found or not all(isinstance(text, str) and text for text in found):
        raise UnusablePrompt(
            f"prompt unusable: expected one or several texts of at least one character, got {shown(value)} at {name}; "
            f"try 'The capital of France is'"
        )
    return [str(text) for text in found]
