"""`steer`: add a vector to the residual stream, and see what becomes of the prediction and of the text."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from tlab.engine import Inputs, run
from tlab.experiments.continuation import Sampling, beginning, continuation_text, continue_text
from tlab.experiments.direction import median_length, random_direction
from tlab.experiments.intervention import Interventions, push_of
from tlab.manifest import experiment
from tlab.plain import whole_number
from tlab.precision import precise
from tlab.results import Result, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxtyping import Float
    from torch import Tensor

    from tlab.experiments.continuation import GeneratedToken
    from tlab.experiments.intervention import Push
    from tlab.models import Model

__all__ = ["SteerResult", "growing_steer", "steer", "text_loss"]

_SHOWN_TOKENS = 6
_MOST_TOKENS = 100_000
_MOST_CONTROLS = 100


@dataclass(frozen=True, eq=False, repr=False)
class SteerResult(Result):
    """A prompt with a vector added to the stream, beside the prompt as it is.

    Args:
        prompt: the text.
        layer: the block after which the vector was added.
        coef: what it was multiplied with.
        positions: where it was added.
        push_norm: the length of what was added.
        stream_norm: the median length of the stream there.
        token: the token that is followed (by default the clean run's answer).
        clean_probability: of that token as the next.
        steered_probability: of that token in the steered run.
        kl_nats: how far the next token's distribution moved: KL(clean ‖ steered).
        random_kl_nats: the same for random directions of the same length.
        clean_continuation: what the model writes by itself.
        steered_continuation: what it writes with the vector added.
        clean_loss_nats: how surprising the model by itself finds its own text, in nats a token.
        steered_loss_nats: how surprising it finds the steered one.
        frame: `token token_id clean steered change clean_logit steered_logit` for the tokens that matter in either run.

    """

    prompt: str
    layer: int
    coef: float
    positions: str | tuple[int, ...]
    push_norm: float
    stream_norm: float
    token: str
    clean_probability: float
    steered_probability: float
    kl_nats: float
    random_kl_nats: tuple[float, ...]
    clean_continuation: str
    steered_continuation: str
    clean_loss_nats: float
    steered_loss_nats: float
    frame: pd.DataFrame

    @property
    def change(self) -> float:
        """Change of the followed token's probability, steered minus clean."""
        return self.steered_probability - self.clean_probability

    @property
    def damage_nats(self) -> float:
        """How much more surprising the model finds the steered text than its own, in nats a token."""
        return self.steered_loss_nats - self.clean_loss_nats

    def to_frame(self) -> pd.DataFrame:
        """Return the top tokens of both runs, one row a token, with their probabilities and logits."""
        return self.frame.copy()

    def _twin_frame(self) -> pd.DataFrame:
        return self.frame[["token", "clean", "steered", "change"]].round(3)

    def explain(self) -> str:
        """Say what was added, what became of prediction and text, what random directions do, and what it costs."""
        share = percent(self.push_norm / self.stream_norm) if self.stream_norm else "any amount"
        return (
            f"With a vector of length {self.push_norm:.3g} ({share} of the stream's own) added after block "
            f"{self.layer}, {self.token!r} goes from {percent(self.clean_probability)} to "
            f"{percent(self.steered_probability)} and the prediction moves by {self.kl_nats:.3f} nats"
            f"{self._beside_random()}. The text goes on with {self.steered_continuation!r} instead of "
            f"{self.clean_continuation!r}; the model by itself finds that "
            f"{_compared(self.damage_nats)} ({self.steered_loss_nats:.2f} nats a token, its own "
            f"{self.clean_loss_nats:.2f}). A text that sounds as wished is no proof that the direction means it."
        )

    def _beside_random(self) -> str:
        if not self.random_kl_nats:
            return ""
        low, high = min(self.random_kl_nats), max(self.random_kl_nats)
        return f" (random directions of that length: {low:.3f} to {high:.3f})"


def _compared(damage_nats: float) -> str:
    return f"{abs(damage_nats):.2f} nats a token {'more' if damage_nats >= 0 else 'less'} surprising"


@experiment
def steer(
    model: Model,
    prompt: str,
    vector: Any,  # noqa: ANN401  a tensor, or a result with a vector and a layer
    *,
    layer: int | None = None,
    coef: float = 1.0,
    positions: str | Sequence[int] = "all",
    token: str | int | None = None,
    max_new_tokens: int = 20,
    temperature: float = 0.0,
    seed: int = 0,
    controls: int = 3,
    target: str | None = None,
) -> SteerResult:
    """Add a vector to the residual stream, and compare the prediction and the text with the model's own.

    Args:
        model: from `load`.
        prompt: the text to go on from; in an encoder-decoder the source.
        vector: `d_model` numbers, or the result of `steering_vector`.
        layer: the block after which it is added; by default the one that it was made at.
        coef: what it is multiplied with; a negative one steers the other way.
        positions: `"all"`, also of what is generated; `"prompt"`; `"last"` (the prompt's last position);
            `"continuation"` (from there on); or positions of the prompt.
        token: the token to follow; by default the clean run's likeliest.
        max_new_tokens: how long the texts become.
        temperature: of both texts; 0 takes the likeliest token.
        seed: of the draws and of the random directions.
        controls: how many random directions of the same length are tried beside.
        target: in an encoder-decoder, what the decoder has written so far.

    Units: losses and divergences in nats.

    Invariants:
        A coefficient of 0 changes nothing, exactly.

    Raises:
        UnknownOption: the vector has another width, or an option is outside its values.
        UnusablePrompt: the model is an encoder, or the prompt cannot be read.

    Cost: two forward passes and one for each control; two generations, and one pass over each of the two texts.

    Source:
        Turner et al. (2023), arXiv:2308.10248; Rimsky et al. (2023), arXiv:2312.06681. Our "damage" is the loss of
        the steered text under the model by itself.

    """
    *_, last = growing_steer(
        model,
        prompt,
        vector,
        layer=layer,
        coef=coef,
        positions=positions,
        token=token,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
        controls=controls,
        target=target,
    )
    return last


def growing_steer(
    model: Model,
    prompt: str,
    vector: Any,  # noqa: ANN401  a tensor, or a result with a vector and a layer
    *,
    layer: int | None = None,
    coef: float = 1.0,
    positions: str | Sequence[int] = "all",
    token: str | int | None = None,
    max_new_tokens: int = 20,
    temperature: float = 0.0,
    seed: int = 0,
    controls: int = 3,
    target: str | None = None,
) -> Iterator[SteerResult]:
    """Yield `steer`'s result as it grows: first without texts, then with one token more of both, then with the losses.

    Until the texts are complete, the losses are not numbers. Whoever stops listening leaves nothing behind in the
    model. The arguments are those of `steer`.
    """
    n_most = whole_number("max_new_tokens", max_new_tokens, 1, _MOST_TOKENS, "try max_new_tokens=20")
    n_controls = whole_number("controls", controls, 0, _MOST_CONTROLS, "try controls=3")
    sampling = Sampling(temperature, seed=seed)
    inputs = beginning(model, prompt, target)
    n_prompt = inputs.ids.shape[1]
    push = push_of(model, vector, layer=layer, coef=coef, positions=positions, n_prompt=n_prompt)
    followed = None if token is None else model.to_id(token)
    plain = run(model, inputs, sites=[push.site], read=(n_prompt - 1,))
    clean = precise(plain.logits[0, 0]).cpu()
    steered, *random = [_next_logits(model, inputs, one) for one in (push, *_controls(push, n_controls, seed))]
    token_id = int(clean.argmax()) if followed is None else followed
    growing = SteerResult(
        prompt=prompt,
        layer=push.layer,
        coef=float(coef),
        positions=push.positions,
        push_norm=float(push.vector.norm()),
        stream_norm=median_length([plain.captured[push.site][0]]),
        token=model.to_text(token_id),
        clean_probability=float(clean.softmax(-1)[token_id]),
        steered_probability=float(steered.softmax(-1)[token_id]),
        kl_nats=_divergence(clean, steered),
        random_kl_nats=tuple(_divergence(clean, one) for one in random),
        clean_continuation="",
        steered_continuation="",
        clean_loss_nats=math.nan,
        steered_loss_nats=math.nan,
        frame=_comparison(model, clean, steered, token_id),
    )
    yield growing
    steps: tuple[list[GeneratedToken], list[GeneratedToken]] = ([], [])
    ways = (_unchanged(model, n_prompt, n_most), _pushed(model, n_prompt, n_most, push))
    texts = [continue_text(model, inputs, changes, sampling, n_most=n_most, n_shown=1) for changes in ways]
    for both in zip_longest(*texts):
        for one, new in zip(steps, both, strict=True):
            one.extend([] if new is None else [new])
        said = [continuation_text(model, inputs, one) for one in steps]
        growing = replace(growing, clean_continuation=said[0], steered_continuation=said[1])
        yield growing
    losses = [text_loss(model, inputs, [step.token_id for step in one]) for one in steps]
    yield replace(growing, clean_loss_nats=losses[0], steered_loss_nats=losses[1])


def text_loss(model: Model, inputs: Inputs, new_ids: Sequence[int]) -> float:
    """Return how surprising the model by itself finds a continuation, in nats a token."""
    new = torch.tensor(new_ids, device=inputs.ids.device)
    n_prompt = inputs.ids.shape[1]
    # The last token is predicted, and predicts nothing that is asked for.
    ids = torch.cat([inputs.ids, new[None, :-1]], dim=1)
    read = range(n_prompt - 1, ids.shape[1])
    logits = precise(run(model, Inputs(ids, source=inputs.source), read=read).logits[0])
    return float(-logits.log_softmax(-1).gather(-1, new[:, None]).mean())


def _unchanged(model: Model, n_prompt: int, n_most: int) -> Interventions:
    return Interventions(model, n_prompt, n_prompt + n_most)


def _pushed(model: Model, n_prompt: int, n_most: int, push: Push) -> Interventions:
    return Interventions(model, n_prompt, n_prompt + n_most, push=push)


def _controls(push: Push, n_controls: int, seed: int) -> list[Push]:
    length, width = float(push.vector.norm()), len(push.vector)
    return [push.along(random_direction(length, width, seed + one)) for one in range(n_controls)]


def _next_logits(model: Model, inputs: Inputs, push: Push) -> Float[Tensor, " d_vocab"]:
    n_prompt = inputs.ids.shape[1]
    edits = push.edits(0, n_prompt, n_prompt)
    return precise(run(model, inputs, edits=edits, read=(n_prompt - 1,)).logits[0, 0]).cpu()


def _divergence(clean: Tensor, steered: Tensor) -> float:
    log_p, log_q = clean.log_softmax(-1), steered.log_softmax(-1)
    return float((log_p.exp() * (log_p - log_q)).sum().clamp(min=0))


def _comparison(model: Model, clean: Tensor, steered: Tensor, token_id: int) -> pd.DataFrame:
    ids = [token_id, *clean.topk(_SHOWN_TOKENS).indices.tolist(), *steered.topk(_SHOWN_TOKENS).indices.tolist()]
    chosen = list(dict.fromkeys(ids))
    before, after = clean.softmax(-1)[chosen].tolist(), steered.softmax(-1)[chosen].tolist()
    names = [model.to_text(i) for i in chosen]
    frame = pd.DataFrame({"token": names, "token_id": chosen, "clean": before, "steered": after})
    frame["change"] = frame["steered"] - frame["clean"]
    frame["clean_logit"], frame["steered_logit"] = clean[chosen].tolist(), steered[chosen].tolist()
    return frame
