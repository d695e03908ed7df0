"""`train`: fit a linear probe to what stands at a site, and judge it beside a control task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import torch

from tlab.errors import UnknownOption, shown
from tlab.learning.limits import fraction, one_of, one_stream_model, several_texts
from tlab.manifest import experiment
from tlab.plain import whole_number
from tlab.probe.examples import (
    Label,
    checked_labels,
    checked_position,
    checked_sites,
    distinct_prompts,
    examples_at,
)
from tlab.probe.fitting import METHODS, class_means, control_classes, fit, held_out_mask, wilson
from tlab.probe.result import ProbeResult
from tlab.sites import layer_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from tlab.models import Model
    from tlab.probe.examples import Examples
    from tlab.probe.fitting import Classifier

__all__ = ["train"]

_MOST = 10**9
_MOST_CONTROLS = 1000


@dataclass(frozen=True, eq=False)
class _Data:
    """Examples with their classes, split."""

    examples: Examples
    classes: Tensor
    is_test: Tensor
    n_classes: int
    n_test_prompts: int


@experiment
def train(
    model: Model,
    prompts: Sequence[str],
    labels: Sequence[Label],
    *,
    site: str = "blocks.L.resid_post",
    layers: Sequence[int] | None = None,
    position: int | Literal["all", "mean"] = -1,
    method: Literal["logistic", "difference_of_means"] = "logistic",
    types: Sequence[str] | None = None,
    test_fraction: float = 0.3,
    l2: float = 1.0,
    controls: int = 5,
    seed: int = 0,
) -> ProbeResult:
    """Train one linear probe a layer to tell the prompts' labels from the model's vectors.

    Beside it, probes of the same kind are trained on a control task: each word type (the token that is read) gets a
    random label, which says nothing about language and can only be remembered. What the probe does better than its
    control, the *selectivity*, is what the vectors made easy. If all prompts are read at the same token, or as a mean,
    each prompt is its own type; then the control shows chance only. Give `types` where the prompts have some of their
    own, such as the word that was put into a template.

    Args:
        model: from `load`; a decoder or an encoder.
        prompts: several of each class, each once.
        labels: one for each prompt.
        site: where to read; `L` stands for each of the layers, or name one site.
        layers: which; by default all.
        position: where in each prompt to read: counted from the end if negative; `"all"` positions but the first, each
            with its prompt's label; or their `"mean"`. The first is left out since it holds massive activations.
        method: how to fit.
        types: what the control's random labels depend on, one for each prompt.
        test_fraction: how many prompts of each class to hold out.
        l2: strength of the penalty in logistic regression (its C is 1 / l2), on standardised vectors.
        controls: how many draws of random labels.
        seed: of the split and the random labels.

    Invariants:
        No prompt is both trained on and judged on. The same arguments give the same result.

    Raises:
        UnknownOption: prompts and labels of unequal number, one class, a class with one example, a prompt twice, or an
            option outside its bounds.
        UnknownSite: the site is none of the model's, or holds no single vector a position.
        UnusablePrompt: a prompt is no prompt, or has no such position.
        UnsupportedModel: an encoder-decoder.

    Cost: one forward pass a prompt; `1 + controls` fits a layer.

    Source:
        Alain and Bengio, "Understanding intermediate layers using linear classifier probes" (2016), arXiv:1610.01644;
        Hewitt and Liang, "Designing and Interpreting Probes with Control Tasks" (2019), arXiv:1909.03368. The
        interval is Wilson's, with prompts as independent trials, also where every token is a row.

    """
    one_stream_model(model.name, model.family)
    sites = checked_sites(model, site, layers)
    texts = distinct_prompts(prompts)
    given = checked_labels(labels, len(texts))
    place = checked_position(position)
    by_type = None if types is None else _one_a_prompt(types, len(texts))
    _check_numbers(method, test_fraction, l2, controls, seed)
    names = tuple(sorted(set(given), key=lambda label: (type(label).__name__, label)))
    by_prompt = [names.index(label) for label in given]
    is_test = held_out_mask(by_prompt, test_fraction, seed)
    data = _data(examples_at(model, texts, sites, place), by_prompt, len(names), is_test)
    row_types, control_by = _row_types(data.examples, texts, place, by_type)
    random_labels = [control_classes(row_types, data.classes.tolist(), seed + draw) for draw in range(controls)]
    judged = [_judged(data, vectors, random_labels, method, l2) for vectors in data.examples.vectors]
    seen = ~data.is_test
    return ProbeResult(
        sites=sites,
        labels=names,
        method=method,
        position=place,
        weights=torch.stack([probe.weights for probe, _ in judged]),
        biases=torch.stack([probe.biases for probe, _ in judged]),
        class_means=torch.stack(
            [class_means(vectors[seen], data.classes[seen], len(names)) for vectors in data.examples.vectors]
        ),
        mean=data.examples.vectors[:, seen].mean(1),
        n_train=len(texts) - data.n_test_prompts,
        n_test=data.n_test_prompts,
        baseline=_baseline(data),
        control_by=control_by,
        n_types=len(set(row_types)),
        types_met=_share_met(row_types, data.is_test),
        n_controls=controls,
        l2=float(l2),
        seed=seed,
        frame=pd.DataFrame(
            {"site": site, "layer": layer_of(site), **row} for site, (_, row) in zip(sites, judged, strict=True)
        ),
    )


def _check_numbers(method: object, test_fraction: object, l2: object, controls: object, seed: object) -> None:
    one_of("method", method, METHODS)
    fraction("test_fraction", test_fraction, 0, 1, "try test_fraction=0.3")
    fraction("l2", l2, 0, _MOST, "try l2=1.0")
    whole_number("controls", controls, 1, _MOST_CONTROLS, "try controls=5")
    whole_number("seed", seed, 0, _MOST, "try seed=0")


def _baseline(data: _Data) -> float:
    """Return how often the commonest label of the training rows is right on the held-out ones."""
    commonest = int(torch.bincount(data.classes[~data.is_test]).argmax())
    return float((data.classes[data.is_test] == commonest).float().mean())


def _share_met(row_types: Sequence[str], is_test: Tensor) -> float:
    """Return what share of the held-out rows have a type that is there among the training rows."""
    held_out = is_test.tolist()
    met = {one for one, is_one in zip(row_types, held_out, strict=True) if not is_one}
    asked = [one for one, is_one in zip(row_types, held_out, strict=True) if is_one]
    return sum(one in met for one in asked) / len(asked)


def _data(examples: Examples, by_prompt: Sequence[int], n_classes: int, is_test: Tensor) -> _Data:
    return _Data(
        examples=examples,
        classes=torch.tensor(by_prompt)[examples.prompt],
        is_test=is_test[examples.prompt],
        n_classes=n_classes,
        n_test_prompts=int(is_test.sum()),
    )


def _one_a_prompt(types: object, n_prompts: int) -> tuple[str, ...]:
    given = several_texts("types", types)
    if len(given) == n_prompts and len(set(given)) > 1:
        return given
    raise UnknownOption(
        f"types refused: expected one text for each of {n_prompts} prompts, and at least two different ones, "
        f"got {len(given)} in {shown(given)}; leave them out to take the token that is read"
    )


def _row_types(
    examples: Examples, texts: Sequence[str], position: int | str, by_type: Sequence[str] | None
) -> tuple[list[str], str]:
    """Return what each row's random label depends on, and what that is called."""
    rows = examples.prompt.tolist()
    if by_type is not None:
        return [by_type[prompt] for prompt in rows], "given"
    if position == "mean" or len(set(examples.token)) == 1:
        return [texts[prompt] for prompt in rows], "prompt"
    return list(examples.token), "token"


def _judged(
    data: _Data, vectors: Tensor, random_labels: Sequence[Tensor], method: str, l2: float
) -> tuple[Classifier, dict[str, Any]]:
    """Fit a probe and its controls at one site; return the probe and its row of the table."""
    test, seen = data.is_test, ~data.is_test
    probe = fit(vectors[seen], data.classes[seen], data.n_classes, method, l2)
    accuracy = probe.accuracy(vectors[test], data.classes[test])
    by_control = [
        fit(vectors[seen], labels[seen], data.n_classes, method, l2).accuracy(vectors[test], labels[test])
        for labels in random_labels
    ]
    control = sum(by_control) / len(by_control)
    low, high = wilson(accuracy, data.n_test_prompts)
    return probe, {
        "accuracy": accuracy,
        "low": low,
        "high": high,
        "control": control,
        "selectivity": accuracy - control,
        "train_accuracy": probe.accuracy(vectors[seen], data.classes[seen]),
        "has_converged": probe.has_converged,
    }
