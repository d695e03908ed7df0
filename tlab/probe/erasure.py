"""`erase`: take what a probe reads out of the stream, and see whether the prediction needed it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn.functional import normalize

from tlab.learning.corpus import is_ordinary
from tlab.learning.limits import one_of
from tlab.learning.push import PushResult, push
from tlab.manifest import experiment
from tlab.probe.examples import Label  # noqa: TC001  the type of a field
from tlab.probe.reading import checked_probe

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from tlab.models import Model
    from tlab.probe.result import ProbeResult

__all__ = ["Erasure", "erase"]

_FIRST = 1
_SMALLEST_SIZE = 1e-9


@dataclass(frozen=True, eq=False, repr=False)
class Erasure(PushResult):
    """A run without what a probe reads, beside the clean one and beside pushes of the same size in random directions.

    Args:
        labels: the classes that the probe tells apart.
        method: `mean` or `zero`.

    """

    labels: tuple[Label, ...]
    method: str

    @property
    def title(self) -> str:
        """What was done, in a few words for a picture."""
        return f"{' / '.join(map(str, self.labels))} erased from {self.site}"

    def _done(self) -> str:
        to = "the training's mean" if self.method == "mean" else "zero"
        return (
            f"With what tells {' from '.join(map(repr, self.labels))} set to {to} in {self.site} at {self.n_pushed} "
            f"positions ({self._size()})"
        )

    def _limits(self) -> str:
        return (
            "Later layers may work the same thing out again, and it may also lie in directions that this probe does "
            "not read: no effect does not prove that the model has no use for it."
        )


@experiment
def erase(
    model: Model,
    prompt: str,
    probe: ProbeResult,
    layer: int | None = None,
    *,
    method: Literal["mean", "zero"] = "mean",
    token: str | int | None = None,
    controls: int = 5,
    seed: int = 0,
) -> Erasure:
    """Project the directions that a probe reads out of the stream, and compare the predictions.

    After it, this probe reads the same in every prompt. For two classes it is one direction, for more one fewer than
    there are classes. It is done at all positions but the first and those with massive activations, whose vectors are
    of another size. Beside it, the stream is pushed as far at the same positions in random directions.

    Args:
        model: the one that the probe was trained on.
        prompt: the text to run.
        probe: from `train`.
        layer: at which of its layers; may be left out if only one was probed.
        method: what remains along the directions: the training's `"mean"`, or `"zero"`, as in a plain projection.
        token: the token to follow; by default the clean run's likeliest.
        controls: how many random draws of directions are pushed along beside.
        seed: of the draws.

    Invariants:
        Erasing twice is erasing once.

    Raises:
        UnknownTarget: there is no probe of this layer.
        UnknownOption: no probe of this model, or an option outside its bounds.
        UnsupportedModel: not a decoder.

    Cost: two forward passes, and one a control.

    Source:
        Ravfogel et al., "Null It Out: Guarding Protected Attributes by Iterative Nullspace Projection" (2020),
        arXiv:2004.07667; Elazar et al., "Amnesic Probing" (2020), arXiv:2006.00995. Ours is one projection and no
        iteration.

    """
    place = checked_probe(probe, model).place(layer)
    one_of("method", method, ("mean", "zero"))
    basis = _basis(probe.weights[place])
    centre = probe.mean[place] if method == "mean" else torch.zeros_like(probe.mean[place])

    def draw(n_directions: int, generator: torch.Generator) -> Tensor:
        return normalize(torch.randn(n_directions, basis.shape[1], generator=generator), dim=-1)

    common = push(
        model,
        prompt,
        probe.sites[place],
        lambda stream: _erasing(stream, basis, centre),
        others=("random direction", draw),
        controls=controls,
        seed=seed,
        token=token,
    )
    return Erasure(**common, labels=probe.labels, method=method)


def _erasing(stream: Tensor, basis: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far to push along each direction of the basis so that only the centre's part of it remains."""
    chosen = is_ordinary(stream, min(_FIRST, len(stream) - 1))
    return -((stream - centre) @ basis.T) * chosen[:, None], basis


def _basis(weights: Float[Tensor, "class width"]) -> Float[Tensor, "direction width"]:
    """Return orthonormal directions that span all differences between the classes' weights."""
    differences = (weights - weights.mean(0)).double()
    _, sizes, directions = torch.linalg.svd(differences, full_matrices=False)
    spanning: Tensor = directions[sizes > sizes[0] * _SMALLEST_SIZE]
    return spanning[: len(weights) - 1].float()
