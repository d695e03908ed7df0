"""Linear classifiers and how to judge them: two ways to fit, a fair split, random labels as a control, an interval.

Refuses: models and prompts; it sees vectors and labels only.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from jaxtyping import Bool, Float, Int
    from torch import Tensor

__all__ = ["METHODS", "Classifier", "class_means", "control_classes", "fit", "held_out_mask", "wilson"]

METHODS = ("logistic", "difference_of_means")
_MOST_ITERATIONS = 1000
_Z = 1.959964  # of the normal distribution, for 95 %


@dataclass(frozen=True, eq=False)
class Classifier:
    """One weight vector and one offset a class; the class with the largest score is the answer.

    Args:
        weights: in the units of the vectors.
        biases: likewise.
        has_converged: whether the fit found its optimum.

    """

    weights: Float[Tensor, "class width"]
    biases: Float[Tensor, " class"]
    has_converged: bool = True

    def scores(self, vectors: Float[Tensor, "row width"]) -> Float[Tensor, "row class"]:
        """Return every class' score."""
        return vectors @ self.weights.T + self.biases

    def accuracy(self, vectors: Float[Tensor, "row width"], classes: Int[Tensor, " row"]) -> float:
        """Return the share of rows whose class comes first."""
        return float((self.scores(vectors).argmax(-1) == classes).float().mean())


def fit(
    vectors: Float[Tensor, "row width"], classes: Int[Tensor, " row"], n_classes: int, method: str, l2: float
) -> Classifier:
    """Fit a linear classifier.

    `logistic` standardises every dimension, fits, and turns the weights back into the vectors' own units.
    `difference_of_means` takes each class' mean; the nearest one is the answer.

    Source:
        Pedregosa et al., "Scikit-learn: Machine Learning in Python" (2011), arXiv:1201.0490; Marks and Tegmark, "The
        Geometry of Truth" (2023), arXiv:2310.06824, for the difference of means.

    """
    if method == "difference_of_means":
        means = class_means(vectors, classes, n_classes)
        return Classifier(means, -means.pow(2).sum(-1) / 2)
    return _logistic(vectors, classes, n_classes, l2)


def class_means(
    vectors: Float[Tensor, "row width"], classes: Int[Tensor, " row"], n_classes: int
) -> Float[Tensor, "class width"]:
    """Return each class' mean vector."""
    return torch.stack([vectors[classes == number].mean(0) for number in range(n_classes)])


def _logistic(vectors: Tensor, classes: Tensor, n_classes: int, l2: float) -> Classifier:
    import warnings  # noqa: PLC0415

    from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]  # noqa: PLC0415  a second
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # noqa: PLC0415

    # A class that is absent (from a control's random labels) keeps a score that never wins.
    present = torch.unique(classes)
    mean, spread = vectors.mean(0), vectors.std(0).clamp(min=1e-6)
    weights, biases = torch.zeros(n_classes, vectors.shape[1]), torch.full((n_classes,), -math.inf)
    if len(present) == 1:
        biases[present] = 0.0
        return Classifier(weights, biases)
    solver = LogisticRegression(C=1 / l2, max_iter=_MOST_ITERATIONS)
    with warnings.catch_warnings():
        # Said in the result instead, where the reader looks.
        warnings.simplefilter("ignore", ConvergenceWarning)
        solver.fit(((vectors - mean) / spread).double().numpy(), classes.numpy())
    slopes, offsets = torch.from_numpy(solver.coef_), torch.from_numpy(solver.intercept_)
    if len(present) == 2:  # noqa: PLR2004  two classes share one weight vector there; here each has half of it
        slopes, offsets = torch.cat([-slopes, slopes]) / 2, torch.cat([-offsets, offsets]) / 2
    slopes = slopes / spread
    weights[present] = slopes.float()
    biases[present] = (offsets - slopes @ mean.double()).float()
    return Classifier(weights, biases, has_converged=int(solver.n_iter_.max()) < _MOST_ITERATIONS)


def held_out_mask(classes: Sequence[int], test_fraction: float, seed: int) -> Bool[Tensor, " example"]:
    """Draw the examples to hold out, the same share of each class, and at least one of each on either side."""
    draw = random.Random(seed)  # noqa: S311  a split, no secret
    mask = torch.zeros(len(classes), dtype=torch.bool)
    for number in sorted(set(classes)):
        members = [index for index, one in enumerate(classes) if one == number]
        n_test = min(max(1, round(test_fraction * len(members))), len(members) - 1)
        mask[draw.sample(members, n_test)] = True
    return mask


def control_classes(types: Sequence[Hashable], classes: Sequence[int], seed: int) -> Int[Tensor, " row"]:
    """Give every type a class at random, as frequent as the classes themselves are, and each row that of its type.

    Source:
        Hewitt and Liang, "Designing and Interpreting Probes with Control Tasks" (2019), arXiv:1909.03368.

    """
    distinct = list(dict.fromkeys(types))
    in_order = sorted(classes)
    # As many types get a class as have its share among the rows, the first and the last class included.
    last = len(in_order) - 1
    dealt = [in_order[round(last * number / max(1, len(distinct) - 1))] for number in range(len(distinct))]
    random.Random(seed).shuffle(dealt)  # noqa: S311  a shuffle, no secret
    given = dict(zip(distinct, dealt, strict=True))
    return torch.tensor([given[one] for one in types])


def wilson(share: float, n_trials: int) -> tuple[float, float]:
    """Return the 95 % interval of a share that was seen in `n_trials` independent trials.

    Source:
        Wilson, "Probable Inference, the Law of Succession, and Statistical Inference" (1927), Journal of the American
        Statistical Association 22.

    """
    ratio = _Z**2 / n_trials
    centre = (share + ratio / 2) / (1 + ratio)
    half = _Z / (1 + ratio) * math.sqrt(share * (1 - share) / n_trials + ratio / (4 * n_trials))
    return max(0.0, centre - half), min(1.0, centre + half)
