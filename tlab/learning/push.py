"""Pushing the stream along directions, beside pushes of the same size along other ones.

Features and probes are directions, and taking one out or turning it up adds a multiple of it at each position. Whether
that direction matters shows only beside others: any push of this size may change the prediction as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from tlab.engine import Edit, run
from tlab.errors import UnsupportedModel, shown
from tlab.plain import whole_number
from tlab.precision import precise
from tlab.results import Result, percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jaxtyping import Float
    from torch import Tensor

    from tlab.models import Model

__all__ = ["PushResult", "push"]

_SHOWN_TOKENS = 6
_MOST_CONTROLS = 1000
_MOST_SEED = 10**9


@dataclass(frozen=True, eq=False, repr=False)
class PushResult(Result):
    """The clean run beside one in which the stream was pushed, at the last position.

    Args:
        prompt: the text that was run.
        site: where the stream was pushed.
        n_pushed: at how many positions.
        relative_size: length of the push as a share of the vector's own length, on average over these positions.
        token: the token that is followed (by default the clean run's answer).
        clean_probability: of that token in the clean run.
        patched_probability: of that token in the patched run.
        kl_nats: Kullback-Leibler divergence of the patched from the clean distribution, in nats.
        frame: `token clean patched change` for the tokens that matter in either run.
        controls: the same divergence for pushes of the same size at the same positions in other directions: what
            direction → nats.

    """

    prompt: str
    site: str
    n_pushed: int
    relative_size: float
    token: str
    clean_probability: float
    patched_probability: float
    kl_nats: float
    frame: pd.DataFrame
    controls: dict[str, float]

    @property
    def change(self) -> float:
        """Change of the followed token's probability, patched minus clean."""
        return self.patched_probability - self.clean_probability

    @property
    def patched_token(self) -> str:
        """The patched run's likeliest next token."""
        return str(self.frame.sort_values("patched", ascending=False)["token"].iloc[0])

    @property
    def title(self) -> str:
        """What was done, in a few words for a picture."""
        return f"{self.site} pushed"

    def to_frame(self) -> pd.DataFrame:
        """Return `token clean patched change`: probabilities of the top tokens of both runs."""
        return self.frame.copy()

    def _twin_frame(self) -> pd.DataFrame:
        return self.frame.round(3)

    def explain(self) -> str:
        """Say what became of the prediction, and what became of it under other pushes of the same size."""
        before, after = percent(self.clean_probability), percent(self.patched_probability)
        return (
            f"{self._done()}, the probability of {self.token!r} goes from {before} to {after}; the likeliest next "
            f"token is {self._standing()}{self.patched_token!r}, and the whole prediction moved by {self.kl_nats:.3f} "
            f"nats (KL divergence).{self._beside_controls()} {self._limits()}"
        )

    def _done(self) -> str:
        return f"With {self.site} pushed at {self.n_pushed} positions by {self._size()}"

    def _limits(self) -> str:
        return "One prompt shows one case."

    def _standing(self) -> str:
        clean_token = self.frame.sort_values("clean", ascending=False)["token"].iloc[0]
        return "still " if clean_token == self.patched_token else f"no longer {clean_token!r} but "

    def _size(self) -> str:
        return f"{percent(self.relative_size)} of the vector's length"

    def _beside_controls(self) -> str:
        if not self.controls:
            return " Nothing was pushed, so there is nothing to compare with." if self.n_pushed == 0 else ""
        nats = sorted(self.controls.values())
        n_as_large = sum(value >= self.kl_nats for value in nats)
        return (
            f" Beside that, {len(nats)} pushes of the same size in other directions move it by {nats[0]:.3f} to "
            f"{nats[-1]:.3f} nats; {n_as_large} of them by as much or more."
        )


def push(
    model: Model,
    prompt: str,
    site: str,
    of_stream: Callable[[Float[Tensor, "pos width"]], tuple[Float[Tensor, "pos n"], Float[Tensor, "n width"]]],
    *,
    others: tuple[str, Callable[[int, torch.Generator], Float[Tensor, "n width"] | None]],
    controls: int,
    seed: int,
    token: str | int | None,
) -> dict[str, Any]:
    """Run the prompt without and with the push, and with pushes of the same size elsewhere; return the common fields.

    Args:
        model: a decoder.
        prompt: the text to run.
        site: where to push.
        of_stream: from what stands there to how far, and along which directions, to push at each position.
        others: what the controls' directions are called, and a function that draws as many as there are directions.
        controls: how many draws.
        seed: of the draws.
        token: the token to follow; by default the clean run's likeliest.

    Invariants:
        A push by zero changes nothing, to the last bit.

    Raises:
        UnsupportedModel: not a decoder: what is measured is the prediction of the next token.

    """
    if model.family != "decoder":
        raise UnsupportedModel(
            f"model unusable here: expected a decoder, which predicts the next token, got the {model.family} "
            f"{shown(model.name)}; take a model such as 'smollm2-135m'"
        )
    whole_number("controls", controls, 0, _MOST_CONTROLS, "try controls=5")
    whole_number("seed", seed, 0, _MOST_SEED, "try seed=0")
    ids = model.to_ids(prompt)
    plain = run(model, ids, sites=(site,), read=(-1,))
    stream = plain.captured[site][0].float().cpu()
    coefficients, directions = of_stream(stream)
    change = coefficients @ directions
    lengths = change.norm(dim=-1)
    clean, patched = _last(plain.logits), _last(_pushed(model, ids, site, change))
    token_id = int(clean.argmax()) if token is None else model.to_id(token)
    pushed = lengths > 0
    name, draw = others
    drawn = _draws(draw, len(directions), controls if bool(pushed.any()) else 0, seed)
    return {
        "prompt": prompt,
        "site": site,
        "n_pushed": int(pushed.sum()),
        "relative_size": float((lengths[pushed] / stream.norm(dim=-1)[pushed]).mean()) if bool(pushed.any()) else 0.0,
        "token": model.to_text(token_id),
        "clean_probability": float(clean.softmax(-1)[token_id]),
        "patched_probability": float(patched.softmax(-1)[token_id]),
        "kl_nats": _divergence(clean, patched),
        "frame": _comparison(model, clean, patched, token_id),
        "controls": {
            f"{name} {number}": _divergence(
                clean, _last(_pushed(model, ids, site, _as_long_as(lengths, coefficients @ other)))
            )
            for number, other in enumerate(drawn, start=1)
        },
    }


def _pushed(model: Model, ids: Tensor, site: str, change: Tensor) -> Tensor:
    return run(model, ids, edits=[Edit(site, lambda tensor: tensor + change.to(tensor))], read=(-1,)).logits


def _last(logits: Tensor) -> Tensor:
    last: Tensor = logits[0, -1]
    return precise(last).cpu()


def _draws(
    draw: Callable[[int, torch.Generator], Tensor | None], n_directions: int, n_draws: int, seed: int
) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(n_draws):
        drawn = draw(n_directions, generator)
        if drawn is None:
            return
        yield drawn


def _as_long_as(lengths: Tensor, change: Tensor) -> Tensor:
    """Give another change the wanted length at each position: several directions may cancel or add up by chance."""
    factors: Tensor = lengths / change.norm(dim=-1).clamp(min=1e-12)
    return change * factors[:, None]


def _divergence(clean: Tensor, patched: Tensor) -> float:
    clean_log, patched_log = clean.log_softmax(-1), patched.log_softmax(-1)
    return float((clean_log.exp() * (clean_log - patched_log)).sum().clamp(min=0))


def _comparison(model: Model, clean: Tensor, patched: Tensor, token_id: int) -> pd.DataFrame:
    n_shown = min(_SHOWN_TOKENS, len(clean))
    likeliest = torch.cat([clean.topk(n_shown).indices, patched.topk(n_shown).indices]).tolist()
    chosen = list(dict.fromkeys([token_id, *likeliest]))
    before, after = clean.softmax(-1)[chosen], patched.softmax(-1)[chosen]
    return pd.DataFrame(
        {
            "token": [model.to_text(one) for one in chosen],
            "clean": before.tolist(),
            "patched": after.tolist(),
            "change": (after - before).tolist(),
        }
    )
