"""`predict`: which token the model expects next, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from tlab.engine import run
from tlab.experiments.prompts import inputs_of
from tlab.experiments.reading import reading_position
from tlab.manifest import experiment
from tlab.plain import whole_number
from tlab.precision import precise
from tlab.results import Result, percent

if TYPE_CHECKING:
    from torch import Tensor

    from tlab.models import Model

__all__ = ["Prediction", "predict", "ranked"]


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(Result):
    """The likeliest next tokens after a prompt.

    Args:
        prompt: the text that was run.
        frame: `rank token token_id probability logit`, the likeliest first.
        position: at which position the prediction is read.
        is_masked: whether the token *at* the position is predicted (encoders), not the one after it.
        later: what follows the position in the prompt, which the model did not see there; empty at the last one.

    """

    prompt: str
    frame: pd.DataFrame
    position: int = -1
    is_masked: bool = False
    later: str = ""

    @property
    def token(self) -> str:
        """The likeliest next token."""
        return str(self.frame["token"].iloc[0])

    @property
    def probability(self) -> float:
        """The probability of the likeliest next token, from 0 to 1."""
        return float(self.frame["probability"].iloc[0])

    def to_frame(self) -> pd.DataFrame:
        """Return `rank token token_id probability logit`, one row a token."""
        return self.frame.copy()

    def _twin_frame(self) -> pd.DataFrame:
        return self.frame.drop(columns="token_id")

    def explain(self) -> str:
        """Say what comes first and what follows it."""
        tail = ""
        if len(self.frame) > 1:
            second = self.frame.iloc[1]
            tail = f"; next comes {second['token']!r} with {percent(second['probability'])}"
        expects = f"the model expects {self.token!r} with {percent(self.probability)}{tail}."
        if self.is_masked:
            return f"In the place of position {self.position} of {self.prompt!r} {expects}"
        if self.later:
            return f"After position {self.position} of {self.prompt!r}, before it sees {self.later!r}, {expects}"
        return f"After {self.prompt!r} {expects}"


@experiment
def predict(
    model: Model, prompt: str, *, k: int = 10, position: int | None = None, target: str | None = None
) -> Prediction:
    """Return the `k` tokens that the model holds likeliest after the prompt, or in the place of its mask.

    Args:
        model: from `load`.
        prompt: the text to continue; for an encoder a text with its mask token, e.g. `[MASK]`.
        k: how many tokens to return.
        position: where to read, counted from the end if negative; by default the last position, in an encoder the
            first mask.
        target: in an encoder-decoder, what the decoder has written so far.

    Units: probabilities from 0 to 1 over the whole vocabulary; logits without a unit.

    Raises:
        UnknownOption: `k` is not a number from 1 to the size of the vocabulary, or there is no such position.
        UnusablePrompt: an encoder's prompt holds no mask, or the model predicts no tokens.

    Cost: one forward pass.

    Example:
        >>> predict(load("smollm2-135m"), "The capital of France is").token
        ' Paris'

    """
    k = whole_number("k", k, 1, model.d_vocab, "try k=10")
    model.check_predicts()
    inputs = inputs_of(model, prompt, target=target)
    ids = inputs.ids[0]
    where = model.answer_position(ids) if position is None else reading_position(model, ids, position)
    logits = run(model, inputs, read=(where,)).logits[0, 0]
    is_masked = model.family == "encoder"
    later = "" if is_masked else model.tokenizer.decode(inputs.ids[0, where + 1 :].tolist())
    return Prediction(prompt=prompt, frame=ranked(model, logits, k), position=where, is_masked=is_masked, later=later)


def ranked(model: Model, logits: Tensor, k: int) -> pd.DataFrame:
    """Return the `k` likeliest tokens of one position as `rank token token_id probability logit`.

    Shapes:
        logits: `d_vocab`
    """
    probabilities, ids = precise(logits).softmax(-1).topk(k)
    return pd.DataFrame(
        {
            "rank": range(1, k + 1),
            "token": [model.to_text(token_id) for token_id in ids.tolist()],
            "token_id": ids.tolist(),
            "probability": probabilities.tolist(),
            "logit": precise(logits[ids]).tolist(),
        }
    )
