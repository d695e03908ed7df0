"""`predict`: which token the model expects next, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from tlab.engine import run
from tlab.errors import UnknownOption, shown
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
        frame: `rank token probability logit`, the likeliest first.

    """

    prompt: str
    frame: pd.DataFrame

    @property
    def token(self) -> str:
        """The likeliest next token."""
        return str(self.frame["token"].iloc[0])

    @property
    def probability(self) -> float:
        """The probability of the likeliest next token, from 0 to 1."""
        return float(self.frame["probability"].iloc[0])

    def to_frame(self) -> pd.DataFrame:
        """Return `rank token probability logit`, one row a token."""
        return self.frame.copy()

    def explain(self) -> str:
        """Say what comes first and what follows it."""
        tail = ""
        if len(self.frame) > 1:
            second = self.frame.iloc[1]
            tail = f"; next comes {second['token']!r} with {percent(second['probability'])}"
        return f"After {self.prompt!r} the model expects {self.token!r} with {percent(self.probability)}{tail}."


def predict(model: Model, prompt: str, *, k: int = 10) -> Prediction:
    """Return the `k` tokens that the model holds likeliest after the prompt.

    Args:
        model: from `load`.
        prompt: the text to continue.
        k: how many tokens to return.

    Units: probabilities from 0 to 1 over the whole vocabulary; logits without a unit.

    Raises:
        UnknownOption: `k` is not a number from 1 to the size of the vocabulary.

    Cost: one forward pass.

    Example:
        >>> predict(load("smollm2-135m"), "The capital of France is").token
        ' Paris'

    """
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= model.d_vocab:
        raise UnknownOption(f"k refused: expected a whole number from 1 to {model.d_vocab}, got {shown(k)}; try k=10")
    logits = run(model, model.to_ids(prompt)).logits[0, -1]
    return Prediction(prompt=prompt, frame=ranked(model, logits, k))


def ranked(model: Model, logits: Tensor, k: int) -> pd.DataFrame:
    """Return the `k` likeliest tokens of one position as `rank token probability logit`.

    Shapes:
        logits: `d_vocab`
    """
    probabilities, ids = logits.float().softmax(-1).topk(k)
    return pd.DataFrame(
        {
            "rank": range(1, k + 1),
            "token": [model.to_text(token_id) for token_id in ids.tolist()],
            "probability": probabilities.tolist(),
            "logit": logits[ids].float().tolist(),
        }
    )
