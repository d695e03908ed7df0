"""`logit_lens`: what the model would say if it stopped after each block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from tlab.engine import run, unembed
from tlab.results import Result, percent

if TYPE_CHECKING:
    from tlab.models import Model

__all__ = ["LensResult", "logit_lens"]


@dataclass(frozen=True, eq=False, repr=False)
class LensResult(Result):
    """The lens' reading for every layer and position.

    Args:
        tokens: the prompt, token by token.
        target: the model's own final answer at the last position.
        frame: `layer pos token top_token probability target_probability`; layer 0 is the embedding, layer `n` the
            stream after block `n - 1`.

    """

    tokens: tuple[str, ...]
    target: str
    frame: pd.DataFrame

    @property
    def n_layers(self) -> int:
        """Number of blocks that were read."""
        return int(self.frame["layer"].max())

    @property
    def first_layer(self) -> int:
        """The first layer from which on the lens names the final answer at the last position without interruption."""
        last = self.frame[self.frame["pos"] == len(self.tokens) - 1].sort_values("layer", ascending=False)
        agreeing = (last["top_token"] == self.target).tolist()
        run_length = agreeing.index(False) if False in agreeing else len(agreeing)
        return self.n_layers - run_length + 1

    def to_frame(self) -> pd.DataFrame:
        """Return one row a layer and position."""
        return self.frame.copy()

    def _twin_frame(self) -> pd.DataFrame:
        last = self.frame[self.frame["pos"] == len(self.tokens) - 1]
        return last.iloc[::-1][["layer", "top_token", "probability", "target_probability"]].round(3)

    def explain(self) -> str:
        """Say from which layer on the answer stands."""
        final = self.frame[(self.frame["layer"] == self.n_layers) & (self.frame["pos"] == len(self.tokens) - 1)]
        probability = float(final["target_probability"].iloc[0])
        return (
            f"The model ends on {self.target!r} ({percent(probability)}). "
            f"Read through the logit lens, that answer comes first from layer {self.first_layer} of {self.n_layers} on."
        )


def logit_lens(model: Model, prompt: str) -> LensResult:
    """Read the residual stream after every block with the model's final norm and unembedding.

    The stream is meant to be read only at its end; the lens reads it early. Where the early reading already names the
    answer, the later blocks changed little; where it is nonsense, the stream may hold the answer in a form that the
    unembedding cannot read.

    Args:
        model: from `load`.
        prompt: the text to run.

    Invariants:
        The last layer's reading is the model's own output.

    Cost: one forward pass and `layer × pos` unembeddings.

    Source:
        nostalgebraist, "interpreting GPT: the logit lens" (2020). Our layer 0 is the embedding; the final norm is
        applied at every layer.

    """
    tokens = tuple(model.to_tokens(prompt))
    sites = ["blocks.0.resid_pre", *(f"blocks.{layer}.resid_post" for layer in range(model.n_layers))]
    finished = run(model, model.to_ids(prompt), sites=sites)
    target_id = int(finished.logits[0, -1].argmax())
    rows = []
    for layer, site in enumerate(sites):
        probabilities = unembed(model, finished.captured[site][0]).float().softmax(-1)
        top, ids = probabilities.max(-1)
        rows.append(
            pd.DataFrame(
                {
                    "layer": layer,
                    "pos": range(len(tokens)),
                    "token": tokens,
                    "top_token": [model.to_text(token_id) for token_id in ids.tolist()],
                    "probability": top.tolist(),
                    "target_probability": probabilities[:, target_id].tolist(),
                }
            )
        )
    return LensResult(tokens=tokens, target=model.to_text(target_id), frame=pd.concat(rows, ignore_index=True))
