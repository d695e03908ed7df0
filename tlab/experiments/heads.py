"""`head_scores`: what every attention head does on random tokens, where position and repetition are all there is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import pandas as pd
import torch

from tlab.engine import run
from tlab.errors import UnknownOption, shown
from tlab.experiments.reading import watch
from tlab.manifest import experiment
from tlab.plain import whole_number
from tlab.precision import precise
from tlab.results import Result

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from tlab.models import Model

__all__ = ["SCORES", "HeadScores", "head_scores"]

SCORES = ("previous_token", "duplicate_token", "induction", "first_token", "entropy_nats")
_FEWEST, _MOST = 2, 1000
_SAID = 3
_WORDS = {
    "previous_token": "attention to the token before",
    "duplicate_token": "attention to the same token's earlier place",
    "induction": "attention to the token after the same token's earlier place",
    "first_token": "attention to the first token",
    "entropy_nats": "spread of the attention, in nats",
}


@dataclass(frozen=True, eq=False, repr=False)
class HeadScores(Result):
    """What every head does on repeated random tokens, beside a control.

    Args:
        scores: name → what was measured, a number a head.
        controls: name → the same measure where it means nothing: for `induction` and `duplicate_token` on random
            tokens of the same length that are not repeated, for the others of a head that reads everything alike.
        n_tokens: length of what is repeated.
        n_sequences: how many were averaged over.
        shown: the score that `plot` shows.

    """

    scores: dict[str, Float[Tensor, "layer head"]]
    controls: dict[str, Float[Tensor, "layer head"]]
    n_tokens: int
    n_sequences: int
    shown: str

    @property
    def words(self) -> str:
        """The shown score, for an axis."""
        return _WORDS[self.shown]

    def at(self, score: str) -> HeadScores:
        """Return the same result, showing another score.

        Raises:
            UnknownOption: there is no such score.

        """
        return replace(self, shown=_checked(score))

    def to_frame(self) -> pd.DataFrame:
        """Return one row a head: `layer head`, every score, and every score's control."""
        n_layers, n_heads = next(iter(self.scores.values())).shape
        frame = pd.DataFrame(
            {
                "layer": [layer for layer in range(n_layers) for _ in range(n_heads)],
                "head": [head for _ in range(n_layers) for head in range(n_heads)],
            }
        )
        for name in SCORES:
            frame[name] = self.scores[name].flatten().tolist()
        for name in SCORES:
            frame[f"{name}_control"] = self.controls[name].flatten().tolist()
        return frame

    def strongest(self, score: str, n: int = 5) -> list[tuple[str, float]]:
        """Return the names of the `n` heads with the highest score, and the scores.

        Raises:
            UnknownOption: there is no such score.

        """
        values = self.scores[_checked(score)]
        order = values.flatten().argsort(descending=True, stable=True)[:n].tolist()
        places = [divmod(index, values.shape[1]) for index in order]
        return [(f"L{layer}H{head}", float(values[layer, head])) for layer, head in places]

    def _twin_frame(self) -> pd.DataFrame:
        order = self.to_frame().sort_values(self.shown, ascending=False, kind="stable")
        return order[["layer", "head", self.shown, f"{self.shown}_control"]].round(3)

    def explain(self) -> str:
        """Name the strongest heads of each kind, and what such scores cannot say."""
        kinds = [self._said(name) for name in ("previous_token", "duplicate_token", "induction")]
        sink = self.scores["first_token"]
        return (
            f"On {self.n_sequences} sequences of {self.n_tokens} random tokens, said twice: {'; '.join(kinds)}. "
            f"The median head spends {float(sink.median()):.2f} of its attention on the first token. "
            f"Random tokens leave nothing but position and repetition to attend to: on natural text the same heads may "
            f"do other work, and a score says where a head looks, not what it moves or whether anything depends on it."
        )

    def _said(self, name: str) -> str:
        control = float(self.controls[name].mean())
        heads = ", ".join(f"{head} {value:.2f}" for head, value in self.strongest(name, _SAID))
        return f"{name.replace('_', ' ')} {heads} (control {control:.2f})"


@experiment
def head_scores(
    model: Model,
    *,
    n_tokens: int = 50,
    n_sequences: int = 4,
    seed: int = 0,
    show: Literal["previous_token", "duplicate_token", "induction", "first_token", "entropy_nats"] = "induction",
) -> HeadScores:
    """Score every head on random tokens that are said twice.

    With `n` tokens said twice, `A[i, j]` being what position `i` reads from position `j`: `previous_token` is the mean
    of `A[i, i−1]`, `first_token` the mean of `A[i, 0]` and `entropy_nats` the mean of `−Σ A[i, j] ln A[i, j]`, over all
    `i` but the first; `duplicate_token` is the mean of `A[i, i−n]` and `induction` the mean of `A[i, i−n+1]`, over the
    second half. Nothing is put in front of the tokens.

    Args:
        model: from `load`.
        n_tokens: how many tokens are repeated.
        n_sequences: how many sequences the scores are means over.
        seed: of the tokens.
        show: the score to show first.

    Units: weights from 0 to 1, entropy in nats.

    Invariants:
        All scores but the entropy lie between 0 and 1; the entropy between 0 and the logarithm of the positions.

    Raises:
        UnknownOption: a number is out of range, the model is an encoder-decoder, or there is no such score.

    Cost: two passes over `n_sequences` rows of twice `n_tokens`; patterns are kept for one layer at a time.

    Source:
        Olsson et al., "In-context Learning and Induction Heads" (2022), arXiv:2209.11895: our `induction` is their
        prefix matching score. ARENA's exercises take the mean over one diagonal, which counts a few rows more.

    """
    _checked(show)
    _check_sizes(model, n_tokens, n_sequences)
    if model.family == "encoder-decoder":
        raise UnknownOption(
            f"head scores refused: expected a decoder or an encoder, got the encoder-decoder {shown(model.name)}; "
            f"look at its patterns with attention"
        )
    generator = torch.Generator().manual_seed(seed)
    fresh = _random_ids(model, n_sequences, 2 * n_tokens, generator)
    repeated = fresh[:, :n_tokens].repeat(1, 2)
    scores = _measured(model, repeated, n_tokens)
    alone = _measured(model, fresh, n_tokens)
    uniform = _uniform(model, 2 * n_tokens)
    controls = {
        name: alone[name] if name in {"duplicate_token", "induction"} else torch.full_like(alone[name], uniform[name])
        for name in SCORES
    }
    return HeadScores(scores, controls, n_tokens, n_sequences, show)


def _checked(score: object) -> str:
    if isinstance(score, str) and score in SCORES:
        return score
    raise UnknownOption(f"score refused: expected one of {', '.join(SCORES)}, got {shown(score)}; try 'induction'")


def _check_sizes(model: Model, n_tokens: object, n_sequences: object) -> None:
    most = min(_MOST, model.n_ctx // 2)
    for name, value, low, high, usual in (
        ("n_tokens", n_tokens, _FEWEST, most, 50),
        ("n_sequences", n_sequences, 1, _MOST, 4),
    ):
        whole_number(name, value, low, high, f"try {name}={min(usual, high)}")


def _random_ids(model: Model, n_rows: int, n_pos: int, generator: torch.Generator) -> Int[Tensor, "batch pos"]:
    """Return rows of random tokens, none of them special, and none twice in a row while there are enough."""
    special = set(model.tokenizer.all_special_ids)
    known = min(model.d_vocab, len(model.tokenizer))
    plain = torch.tensor([token_id for token_id in range(known) if token_id not in special])
    weights = torch.ones(n_rows, len(plain))
    chosen = torch.multinomial(weights, n_pos, replacement=len(plain) < n_pos, generator=generator)
    return plain[chosen].to(model.device)


def _measured(model: Model, ids: Int[Tensor, "batch pos"], period: int) -> dict[str, Float[Tensor, "layer head"]]:
    """Return every score; each layer's patterns are forgotten when they have been scored."""
    found: dict[int, Float[Tensor, "score head"]] = {}

    def note(layer: int, pattern: Tensor) -> None:
        found[layer] = _scored(precise(pattern), period).cpu()

    edits = [
        watch(f"blocks.{layer}.attn.pattern", lambda pattern, layer=layer: note(layer, pattern))  # type: ignore[misc]
        for layer in range(model.n_layers)
    ]
    run(model, ids, edits=edits, predicts=False)
    together = torch.stack([found[layer] for layer in range(model.n_layers)], dim=1)
    return dict(zip(SCORES, together, strict=True))


def _scored(pattern: Float[Tensor, "batch head dest_pos src_pos"], period: int) -> Float[Tensor, "score head"]:
    def diagonal(offset: int, first: int) -> Tensor:
        weights = pattern.diagonal(offset=-offset, dim1=-2, dim2=-1)  # its first entry is row `offset`
        return weights[..., first - offset :].mean((0, -1))

    later = pattern[:, :, 1:]
    return torch.stack(
        [
            diagonal(1, 1),
            diagonal(period, period),
            diagonal(period - 1, period),
            later[..., 0].mean((0, -1)),
            torch.special.entr(later).sum(-1).mean((0, -1)),
        ]
    )


def _uniform(model: Model, n_pos: int) -> dict[str, float]:
    """Return the scores of a head that reads everything it may alike."""
    seen = torch.full((n_pos - 1,), float(n_pos))
    if model.anatomy.decoder.is_causal:
        seen = torch.arange(2.0, n_pos + 1)
    each = float((1 / seen).mean())
    return {"previous_token": each, "first_token": each, "entropy_nats": float(seen.log().mean())}
