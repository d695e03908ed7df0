"""A place in a model to look at closely: the stack, the layer, the position, and the direct path from there to logits.

Refuses: deciding what is looked at (`component`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch

from tlab.engine import run
from tlab.experiments.direct import Readout, obstacle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float
    from torch import Tensor

    from tlab.anatomy.parts import Block, Stack
    from tlab.engine import Inputs, Run
    from tlab.models import Model

__all__ = ["Spot", "empty_effects", "last_site", "readout_at", "said", "token_effects"]


@dataclass(frozen=True, eq=False)
class Spot:
    """One place of one run.

    Args:
        prompt: the text that is run.
        inputs: what the model is run on.
        tokens: what this stack reads.
        source_tokens: what its cross-attention reads, if it has one.
        stack: the stack.
        prefix: of its sites: empty, or `encoder.`.
        layer: the block; -1 outside the blocks.
        position: where is read closely, counted from 0.
        ran: a run that captured every site, for a look at many places; `None` if each is to run what it needs.

    """

    prompt: str
    inputs: Inputs
    tokens: tuple[str, ...]
    source_tokens: tuple[str, ...]
    stack: Stack
    prefix: str
    layer: int
    position: int
    ran: Run | None = None

    def run(self, model: Model, sites: Sequence[str], *, predicts: bool) -> Run:
        """Return a run that captured the sites, with the logits at the position if the model predicts."""
        if self.ran is not None:
            return self.ran
        return run(model, self.inputs, sites=sites, read=(self.position,) if predicts else None, predicts=predicts)

    @property
    def block(self) -> Block:
        """The block."""
        return self.stack.blocks[self.layer]

    @property
    def base(self) -> str:
        """What the names of the block's sites begin with."""
        return f"{self.prefix}blocks.{self.layer}"


def last_site(model: Model) -> str:
    """Return the site of the last stream of the stack that predicts."""
    return f"blocks.{model.n_layers - 1}.resid_post"


def readout_at(model: Model, spot: Spot, done: Run) -> Readout | None:
    """Return the direct path from the spot to the logits at its position, or `None` if there is none.

    There is none from an encoder that a decoder reads, without an unembedding, and where the stream is no sum.
    """
    if spot.prefix or model.anatomy.unembed is None or obstacle(model) is not None:
        return None
    return Readout(model, done.captured[last_site(model)][0, spot.position])


def token_effects(model: Model, logits: Float[Tensor, " d_vocab"], k: int) -> pd.DataFrame:
    """Return the `k` tokens that gain most and the `k` that lose most: `token effect`, from the most gained down."""
    k = min(k, len(logits) // 2)
    high, low = logits.topk(k), logits.topk(k, largest=False)
    ids = torch.cat([high.indices, low.indices.flip(0)]).tolist()
    return pd.DataFrame({"token": [model.to_text(one) for one in ids], "effect": logits[ids].tolist()})


def empty_effects() -> pd.DataFrame:
    """Return the table of a part from which no direct path leads to logits."""
    return pd.DataFrame({"token": pd.Series(dtype=object), "effect": pd.Series(dtype="float64")})


def said(frame: pd.DataFrame, n: int) -> str:
    """Return the first `n` rows of `token effect` for a sentence."""
    rows: Sequence[dict[str, object]] = frame.head(n).to_dict("records")
    return ", ".join(f"{row['token']!r} {row['effect']:+.2f}" for row in rows)
