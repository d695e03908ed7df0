"""`ablate` and `steer`: take features out of the stream, or turn one up, and see what the prediction makes of it.

The autoencoder's own error stays in the stream: what is added is the change of the activations times their directions,
and not a reconstruction. An empty change is therefore no change at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from tlab.errors import UnknownTarget, shown
from tlab.learning.limits import fraction, one_of
from tlab.learning.push import PushResult, push
from tlab.manifest import experiment
from tlab.sae.training import Sae, checked_sae

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from tlab.models import Model

__all__ = ["FeatureAblation", "FeatureSteering", "ablate", "steer"]

_OTHERS = "random features"
_LARGEST_COEF = 1e6


@dataclass(frozen=True, eq=False, repr=False)
class FeatureAblation(PushResult):
    """A run with features taken out, beside the clean one and beside other features pushed as far.

    Args:
        features: what was taken out.
        largest: feature → its largest activation in this prompt.

    """

    features: tuple[int, ...]
    largest: dict[int, float]

    @property
    def title(self) -> str:
        """What was done, in a few words for a picture."""
        return f"{_named(self.features)} of {self.site} ablated"

    def _done(self) -> str:
        if not self.n_pushed:
            state = "nothing" if not self.features else f"{_named(self.features)}, active nowhere in this prompt,"
            return f"With {state} taken out of {self.site}"
        return (
            f"With {_named(self.features)} taken out of {self.site} at the {self.n_pushed} positions where active "
            f"(at most {max(self.largest.values()):.1f}; {self._size()})"
        )

    def _limits(self) -> str:
        return (
            "What the autoencoder does not explain was left in place, and a neighbouring feature may carry the same "
            "thing: no effect does not prove that the model has no use for it."
        )


@dataclass(frozen=True, eq=False, repr=False)
class FeatureSteering(PushResult):
    """A run with one feature turned up, beside the clean one and beside other features turned up as far.

    Args:
        feature: what was turned up.
        coef: by how many of its largest activations.
        positions: `all` or `last`.

    """

    feature: int
    coef: float
    positions: str

    @property
    def title(self) -> str:
        """What was done, in a few words for a picture."""
        return f"{_named((self.feature,))} of {self.site} steered by {self.coef:g}"

    def _done(self) -> str:
        return (
            f"With {self.coef:g} times its largest activation of {_named((self.feature,))} added to {self.site} at "
            f"{self.n_pushed} positions ({self._size()})"
        )

    def _limits(self) -> str:
        return "That a push along a direction has an effect does not show that the model ever uses it by itself."


@experiment
def ablate(
    model: Model,
    prompt: str,
    sae: Sae,
    features: int | Sequence[int],
    *,
    token: str | int | None = None,
    controls: int = 5,
    seed: int = 0,
) -> FeatureAblation:
    """Set features to zero wherever they are active in the prompt, and compare the predictions.

    Beside it, features drawn at random from those that are not dead are pushed as far at the same positions: the same
    amount of change in other directions of the dictionary.

    Args:
        model: the one that the autoencoder was trained on.
        prompt: the text to run.
        sae: from `train`.
        features: their numbers; `encode` shows which are active.
        token: the token to follow; by default the clean run's likeliest.
        controls: how many random draws of as many features are pushed beside.
        seed: of the draws.

    Invariants:
        No features, or features that are nowhere active, change nothing, to the last bit.

    Raises:
        UnknownTarget: there is no such feature.
        UnknownOption: no autoencoder of this model, or an option outside its bounds.
        UnsupportedModel: not a decoder.

    Cost: two forward passes, and one a control.

    """
    wanted = checked_sae(sae, model).check_features(features)
    largest: dict[int, float] = {}

    def of_stream(stream: Tensor) -> tuple[Tensor, Tensor]:
        activations = sae.activations(stream)[:, list(wanted)]
        largest.update(zip(wanted, activations.amax(0).tolist(), strict=True))
        return -activations, sae.W_dec[list(wanted)]

    others = (_OTHERS, _drawing(sae, wanted))
    common = push(model, prompt, sae.site, of_stream, others=others, controls=controls, seed=seed, token=token)
    return FeatureAblation(**common, features=wanted, largest=largest)


@experiment
def steer(
    model: Model,
    prompt: str,
    sae: Sae,
    feature: int,
    coef: float,
    *,
    positions: Literal["all", "last"] = "all",
    token: str | int | None = None,
    controls: int = 5,
    seed: int = 0,
) -> FeatureSteering:
    """Add a feature to the stream, and compare the predictions.

    What is added is `coef` times the feature's largest activation on held-out tokens, in its own direction: the vector
    `coef * sae.direction(feature)`. Beside it, random features are added with the same length.

    Args:
        model: the one that the autoencoder was trained on.
        prompt: the text to run.
        sae: from `train`.
        feature: its number.
        coef: how many of its largest activations to add; negative ones push the other way.
        positions: `"all"` ordinary positions (not the first, and no massive activations), or the `"last"` one.
        token: the token to follow; by default the clean run's likeliest.
        controls: how many random features are pushed beside.
        seed: of their draw.

    Invariants:
        `coef=0` changes nothing, to the last bit.

    Raises:
        UnknownTarget: there is no such feature, or it is dead and has no size to be measured in.
        UnknownOption: no autoencoder of this model, or an option outside its bounds.
        UnsupportedModel: not a decoder.

    Cost: two forward passes, and one a control.

    Source:
        Templeton et al., "Scaling Monosemanticity" (2024), Transformer Circuits Thread; they clamp a feature to a
        multiple of its largest activation, while our `coef` adds to what is there.

    """
    (wanted,) = checked_sae(sae, model).check_features([feature])
    one_of("positions", positions, ("all", "last"))
    coef = fraction("coef", coef, -_LARGEST_COEF, _LARGEST_COEF, "try coef=1.0")
    if not float(sae.largest[wanted]):
        raise UnknownTarget(
            f"feature dead: expected one that was active on held-out tokens, got {shown(feature)}; "
            f"find others with sae.features()"
        )

    def of_stream(stream: Tensor) -> tuple[Tensor, Tensor]:
        chosen = sae.is_read(stream)
        if positions == "last":
            chosen = chosen & (torch.arange(len(stream)) == len(stream) - 1)
        return chosen[:, None] * (coef * sae.largest[wanted]), sae.W_dec[[wanted]]

    others = (_OTHERS, _drawing(sae, (wanted,)))
    common = push(model, prompt, sae.site, of_stream, others=others, controls=controls, seed=seed, token=token)
    return FeatureSteering(**common, feature=wanted, coef=coef, positions=positions)


def _drawing(sae: Sae, edited: Sequence[int]) -> Callable[[int, torch.Generator], Tensor | None]:
    """Return a function that draws directions of features that are neither edited nor dead."""
    is_free = sae.frequency > 0
    is_free[list(edited)] = False
    free = is_free.nonzero()[:, 0]

    def draw(n_features: int, generator: torch.Generator) -> Tensor | None:
        if len(free) < n_features:
            return None
        chosen = torch.randperm(len(free), generator=generator)[:n_features]
        return sae.W_dec[free[chosen]]

    return draw


def _named(features: Sequence[int]) -> str:
    if len(features) == 1:
        return f"feature {features[0]}"
    return f"features {', '.join(map(str, features))}" if features else "no feature"
