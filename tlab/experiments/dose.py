"""`dose_curve`: how the effect of a steering vector and the damage that it does grow with its coefficient."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from tlab import metrics
from tlab.engine import Inputs, Sweep, Variant
from tlab.errors import UnknownOption, shown
from tlab.experiments.continuation import Sampling, beginning, continuation_text, continue_text
from tlab.experiments.direction import random_direction
from tlab.experiments.intervention import Interventions, push_of
from tlab.experiments.prompts import inputs_of
from tlab.experiments.steering import text_loss
from tlab.manifest import experiment
from tlab.plain import finite_number, whole_number
from tlab.precision import precise, precise_dtype
from tlab.references import REFERENCE_PROMPTS
from tlab.results import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from tlab.experiments.intervention import Push
    from tlab.metrics import Metric
    from tlab.models import Model

__all__ = ["DoseCurve", "dose_curve"]

_COEFS = (-8.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0, 8.0)
_MOST_TOKENS = 1000
_MOST_CONTROLS = 100
_OWN = "vector"
_RANDOM = "random"


@dataclass(frozen=True, eq=False, repr=False)
class DoseCurve(Result):
    """Effect and damage of a steering vector at several coefficients, beside random directions of its length.

    Args:
        prompt: the text.
        layer: the block after which the vector was added, at every position.
        metric: what was measured behind the prompt, in words.
        unit: what it is counted in.
        vector_norm: the length of the vector at coefficient 1.
        plain_value: the metric in the unchanged model.
        plain_loss_nats: the loss of the reference texts in the unchanged model, in nats a token.
        frame: `direction seed coef value damage_nats`: for the vector and for each random direction the metric and the
            rise of the loss of the reference texts.
        texts: `coef continuation loss_nats`: what the model goes on with at every coefficient, and how surprising the
            unchanged model finds that; empty if none was asked for.

    """

    prompt: str
    layer: int
    metric: str
    unit: str
    vector_norm: float
    plain_value: float
    plain_loss_nats: float
    frame: pd.DataFrame
    texts: pd.DataFrame

    @property
    def curve(self) -> pd.DataFrame:
        """The vector's own rows with the random directions' beside: `coef value damage_nats` and their extremes."""
        own = self.frame[self.frame["direction"] == _OWN].set_index("coef")[["value", "damage_nats"]]
        random = self.frame[self.frame["direction"] == _RANDOM].groupby("coef")[["value", "damage_nats"]]
        if random.ngroups == 0:
            return own.reset_index()
        band = pd.concat({"least": random.min(), "most": random.max()}, axis=1)
        band.columns = [f"random_{which}_{name}" for which, name in band.columns]
        return own.join(band).reset_index()

    def to_frame(self) -> pd.DataFrame:
        """Return one row a direction and coefficient."""
        return self.frame.copy()

    def _twin_frame(self) -> pd.DataFrame:
        return self.curve.round(3)

    def explain(self) -> str:
        """Say how far the metric goes, how far random directions take it, and what it costs."""
        curve = self.curve
        ends = curve.iloc[[0, -1]] if len(curve) > 1 else curve
        values = " and ".join(f"{row['value']:.3f} at coefficient {row['coef']:g}" for _, row in ends.iterrows())
        worst = curve.loc[curve["damage_nats"].idxmax()]
        return (
            f"With a vector of length {self.vector_norm:.3g} times a coefficient added after block {self.layer}, the "
            f"{self.metric} goes from {self.plain_value:.3f} to {values}.{self._beside_random(ends)} Ordinary text "
            f"costs the steered model up to {worst['damage_nats']:.2f} nats a token more than the plain one's "
            f"{self.plain_loss_nats:.2f} (at {worst['coef']:g}{self._random_damage(worst)})."
        )

    def _beside_random(self, ends: pd.DataFrame) -> str:
        if "random_least_value" not in ends:
            return " No random direction was tried beside."
        said = " and ".join(
            f"{row['random_least_value']:.3f} to {row['random_most_value']:.3f} at {row['coef']:g}"
            for _, row in ends.iterrows()
        )
        return f" Random directions of that length take it to {said}."

    def _random_damage(self, row: pd.Series) -> str:
        if "random_least_damage_nats" not in row:
            return ""
        return f"; random directions: {row['random_least_damage_nats']:.2f} to {row['random_most_damage_nats']:.2f}"


@experiment
def dose_curve(
    model: Model,
    prompt: str,
    vector: Any,  # noqa: ANN401  a tensor, or a result with a vector and a layer
    *,
    layer: int | None = None,
    coefs: Sequence[float] = _COEFS,
    metric: Metric | None = None,
    controls: int = 4,
    seed: int = 0,
    max_new_tokens: int = 12,
    reference: Sequence[str] = REFERENCE_PROMPTS[:3],
    target: str | None = None,
) -> DoseCurve:
    """Measure what a steering vector does at several coefficients, and what it breaks.

    The vector is added at every position. Effect is the metric behind the prompt; damage is how much worse the steered
    model predicts ordinary sentences that have nothing to do with it. Random directions of the same length show how
    much of both any push of that length would do.

    Args:
        model: from `load`.
        prompt: the text behind which the metric is measured.
        vector: `d_model` numbers, or the result of `steering_vector`.
        layer: the block after which it is added; by default the one that it was made at.
        coefs: what it is multiplied with.
        metric: of `tlab.metrics`; by default how far the prediction moves (`kl()`), which has no direction.
        controls: how many random directions are tried.
        seed: of the random directions.
        max_new_tokens: how far the text is continued at each coefficient, taking the likeliest tokens; 0 for not at
            all.
        reference: the ordinary sentences.
        target: in an encoder-decoder, what the decoder has written so far.

    Units: damage in nats a token.

    Invariants:
        Coefficient 0 is the unchanged model, up to the rounding of runs that are computed many at once.

    Raises:
        UnknownOption: the vector has another width, or an option is outside its values.
        UnusablePrompt: the model is an encoder, or a text cannot be read.

    Cost: for each coefficient, vector and random direction one pass over the prompt and the reference sentences from
        `layer` on, many at once; for each coefficient one generation.

    Source:
        Turner et al. (2023), arXiv:2308.10248, vary the coefficient likewise; the random control is ours.

    """
    listed = _checked_coefs(coefs)
    n_controls = whole_number("controls", controls, 0, _MOST_CONTROLS, "try controls=4")
    n_most = whole_number("max_new_tokens", max_new_tokens, 0, _MOST_TOKENS, "try max_new_tokens=12")
    chosen = metrics.checked_metric(metrics.kl() if metric is None else metric)
    inputs = beginning(model, prompt, target)
    n_prompt = inputs.ids.shape[1]
    unit = push_of(model, vector, layer=layer, coef=1.0, positions="all", n_prompt=n_prompt)
    length = float(unit.vector.norm())
    directions = [unit.vector, *(random_direction(length, model.d_model, seed + one) for one in range(n_controls))]
    pushes = [unit.along(direction * coef) for direction in directions for coef in listed]
    plain_value, values = _measured(model, inputs, pushes, chosen)
    plain_loss, losses = _losses(model, reference, pushes)
    rows = [
        {"direction": _RANDOM if which else _OWN, "seed": seed + which - 1 if which else -1, "coef": coef}
        for which in range(len(directions))
        for coef in listed
    ]
    frame = pd.DataFrame(rows).assign(value=values.tolist(), damage_nats=(losses - plain_loss).tolist())
    return DoseCurve(
        prompt=prompt,
        layer=unit.layer,
        metric=chosen.label,
        unit=chosen.unit,
        vector_norm=length,
        plain_value=plain_value,
        plain_loss_nats=plain_loss,
        frame=frame,
        texts=_texts(model, inputs, pushes[: len(listed)], listed, n_most),
    )


def _measured(model: Model, inputs: Inputs, pushes: Sequence[Push], metric: Metric) -> tuple[float, Tensor]:
    """Return the metric of the plain run and of each push."""
    n_pos = inputs.ids.shape[1]
    read = metric.reads(model, inputs.ids[0])
    sweep = Sweep(model, inputs, [Variant(push.edits(0, n_pos, n_pos)) for push in pushes], read=read)
    measure = metric.bind(model, inputs.ids[0], sweep.base_logits)
    values = torch.empty(len(pushes), dtype=precise_dtype(model.dtype))
    for members, measured in sweep.run(measure):
        values[members] = precise(measured).cpu()
    return float(measure(sweep.base_logits[None])[0]), values


def _losses(model: Model, reference: Sequence[str], pushes: Sequence[Push]) -> tuple[float, Tensor]:
    """Return the mean loss of the reference texts, in nats a token, of the plain run and of each push."""
    texts = () if isinstance(reference, str) or not isinstance(reference, Iterable) else tuple(reference)
    if not texts:
        raise UnknownOption(
            f"reference refused: expected a list of sentences, got {shown(reference)}; leave it out to use tlab's own"
        )
    plain, steered, n_tokens = 0.0, torch.zeros(len(pushes), dtype=precise_dtype(model.dtype)), 0
    for text in texts:
        inputs = _as_target(model, text)
        n_steps = inputs.ids.shape[1] - 1
        value, values = _measured(model, inputs, pushes, metrics.loss())
        plain, steered, n_tokens = plain + n_steps * value, steered + n_steps * values, n_tokens + n_steps
    return plain / n_tokens, steered / n_tokens


def _as_target(model: Model, text: str) -> Inputs:
    """Return a text as what the predicting stack reads: an encoder-decoder copies it from its source."""
    return inputs_of(model, text, target=text if model.family == "encoder-decoder" else None)


def _texts(model: Model, inputs: Inputs, pushes: Sequence[Push], coefs: Sequence[float], n_most: int) -> pd.DataFrame:
    rows = []
    n_prompt = inputs.ids.shape[1]
    for push, coef in zip(pushes, coefs, strict=True) if n_most else ():
        changes = Interventions(model, n_prompt, n_prompt + n_most, push=push)
        steps = list(continue_text(model, inputs, changes, Sampling(), n_most=n_most, n_shown=1))
        text = continuation_text(model, inputs, steps)
        loss = text_loss(model, inputs, [step.token_id for step in steps])
        rows.append({"coef": coef, "continuation": text, "loss_nats": loss})
    return pd.DataFrame(rows, columns=["coef", "continuation", "loss_nats"])


def _checked_coefs(coefs: Any) -> tuple[float, ...]:  # noqa: ANN401  checked here
    listed = tuple(coefs) if isinstance(coefs, Iterable) and not isinstance(coefs, str) else ()
    if not listed:
        raise UnknownOption(f"coefs refused: expected a list of numbers, got {shown(coefs)}; try coefs=(-4, 0, 4)")
    return tuple(sorted({finite_number("coef", coef) for coef in listed}))
