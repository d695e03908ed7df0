"""`encode` and `read`: which features are active in a prompt, and what one feature answers to and speaks for."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch

from tlab.engine import unembed
from tlab.learning.corpus import checked_context, pieces_of, vectors_at
from tlab.learning.limits import one_stream_model, several_texts
from tlab.manifest import experiment
from tlab.plain import whole_number
from tlab.results import Result, percent
from tlab.sae.training import Sae, checked_sae

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jaxtyping import Float
    from torch import Tensor

    from tlab.models import Model

__all__ = ["FeatureActivations", "FeatureReading", "encode", "read"]

_NAMED_FEATURES = 5
_NAMED_TOKENS = 5
_EFFECTS = 10
_MOST = 10**9


@dataclass(frozen=True, eq=False, repr=False)
class FeatureActivations(Result):
    """Which features are active at each position of a prompt, and how strongly.

    Args:
        prompt: the text that was run.
        site: where the vectors stood.
        tokens: the prompt, token by token.
        activations: `pos feature`: lengths in the stream, most of them 0.
        n_left_out: at how many positions the vectors were of a kind that was left out of the training.

    """

    prompt: str
    site: str
    tokens: tuple[str, ...]
    activations: Float[Tensor, "pos feature"]
    n_left_out: int

    def to_frame(self) -> pd.DataFrame:
        """Return `pos token feature activation`: one row for each active feature, the strongest of a position first."""
        where = self.activations.nonzero()
        frame = pd.DataFrame({"pos": where[:, 0].tolist(), "feature": where[:, 1].tolist()})
        frame.insert(1, "token", [self.tokens[position] for position in frame["pos"]])
        frame["activation"] = self.activations[where[:, 0], where[:, 1]].tolist()
        return frame.sort_values(["pos", "activation"], ascending=[True, False], kind="stable").reset_index(drop=True)

    def strongest(self, n: int = 10) -> tuple[int, ...]:
        """Return the features with the largest activations anywhere in the prompt, the largest first."""
        largest = self.activations.amax(0)
        chosen = largest.topk(min(n, len(largest))).indices.tolist()
        return tuple(feature for feature in chosen if largest[feature] > 0)

    def explain(self) -> str:
        """Say how many features are active, and which of them at the last position."""
        n_read = len(self.tokens) - self.n_left_out
        n_active = float((self.activations > 0).sum()) / max(1, n_read)
        last = self.activations[-1]
        values, chosen = last.topk(min(_NAMED_FEATURES, len(last)))
        named = [
            f"{feature} ({value:.1f})" for feature, value in zip(chosen.tolist(), values.tolist(), strict=True) if value
        ]
        strongest = (
            f"at the last token {self.tokens[-1]!r} most of all {', '.join(named)}" if named else "none at the last"
        )
        return (
            f"In {self.prompt!r}, {n_active:.1f} of {self.activations.shape[1]:,} features are active at a position, "
            f"{strongest}; at {self.n_left_out} of {len(self.tokens)} positions, the first and any with a massive "
            f"activation, nothing is read. "
            f"An activation is a length in the stream at {self.site}, and a number is no meaning yet: "
            f"tlab.sae.read shows what a feature answers to, tlab.sae.ablate whether it matters."
        )


@dataclass(frozen=True, eq=False, repr=False)
class FeatureReading(Result):
    """Where one feature is active in texts, and which tokens its direction speaks for.

    Args:
        feature: its number.
        site: where it was learnt.
        n_tokens: how many tokens were read (those left out not counted).
        n_active: on how many of them it is active.
        contexts: `kind activation before token after text pos`; the kind is `strongest` (at most one a piece of text)
            or `ordinary` (drawn at random from all other active positions); `text` counts the texts as given.
        effects: `kind token logit`: the tokens that the direction, read by final norm and unembedding alone, `promotes`
            and `suppresses` most, against the mean over the vocabulary; empty where it cannot be read so.

    """

    feature: int
    site: str
    n_tokens: int
    n_active: int
    contexts: pd.DataFrame
    effects: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """Return the contexts: `kind activation before token after text pos`."""
        return self.contexts.copy()

    def _twin_frame(self) -> pd.DataFrame:
        return self.contexts.round({"activation": 1})

    def explain(self) -> str:
        """Say how often the feature is active, where most, and what it speaks for."""
        if not self.n_active:
            return (
                f"Feature {self.feature} of {self.site} is active on none of {self.n_tokens:,} tokens of these texts."
                f"{self._effect()}"
            )
        first = self.contexts.iloc[0]
        return (
            f"Feature {self.feature} of {self.site} is active on {self.n_active:,} of {self.n_tokens:,} tokens "
            f"({percent(self.n_active / self.n_tokens)}), most of all with {first['activation']:.1f} on "
            f"{first['token']!r} behind {first['before']!r}.{self._effect()} The strongest contexts flatter a feature: "
            f"compare the ordinary ones beside them before you name it."
        )

    def _effect(self) -> str:
        if self.effects.empty:
            return ""
        named = {
            kind: ", ".join(map(repr, group["token"][:_NAMED_TOKENS])) for kind, group in self.effects.groupby("kind")
        }
        return (
            f" Read by the unembedding alone, past all later layers, its direction speaks for {named['promotes']} "
            f"and against {named['suppresses']}."
        )


@experiment
def encode(model: Model, prompt: str, sae: Sae) -> FeatureActivations:
    """Return which features are active at each position of a prompt.

    Args:
        model: the one that the autoencoder was trained on.
        prompt: the text to run.
        sae: from `train`.

    Raises:
        UnknownOption: no autoencoder of this model.
        UnsupportedModel: an encoder-decoder.

    Cost: one forward pass up to the site.

    """
    one_stream_model(model.name, model.family)
    checked_sae(sae, model)
    ids = model.to_ids(prompt)
    vectors = vectors_at(model, ids, sae.site)
    return FeatureActivations(
        prompt=prompt,
        site=sae.site,
        tokens=tuple(model.to_text(token_id) for token_id in ids.tolist()),
        activations=sae.activations(vectors),
        n_left_out=int((~sae.is_read(vectors)).sum()),
    )


@experiment
def read(
    model: Model,
    texts: Sequence[str],
    sae: Sae,
    feature: int,
    *,
    n_strongest: int = 10,
    n_ordinary: int = 5,
    window: int = 10,
    n_tokens: int = 32_768,
    context: int | None = None,
    seed: int = 0,
) -> FeatureReading:
    """Return the contexts in which one feature is active, and the tokens that its direction speaks for.

    Args:
        model: the one that the autoencoder was trained on.
        texts: what to look through, in this order; better not only those that it was trained on.
        sae: from `train`.
        feature: its number.
        n_strongest: how many contexts to show, the strongest activation first.
        n_ordinary: how many others to draw at random from where it is active.
        window: how many tokens to show before and behind.
        n_tokens: how many tokens are read at most.
        context: how many tokens the model reads at once; longer texts are cut; by default 128.
        seed: of the random draw.

    Raises:
        UnknownTarget: there is no such feature.
        UnknownOption: no autoencoder of this model, or an option outside its bounds.
        UnusablePrompt: one of the texts is no text, or is empty.
        UnsupportedModel: an encoder-decoder.

    Cost: one forward pass up to the site over the tokens.

    Source:
        For why ordinary contexts belong beside the strongest: Bolukbasi et al., "An Interpretability Illusion for BERT"
        (2021), arXiv:2104.07143.

    """
    one_stream_model(model.name, model.family)
    (wanted,) = checked_sae(sae, model).check_features([feature])
    for name, value in (("n_strongest", n_strongest), ("n_ordinary", n_ordinary), ("window", window), ("seed", seed)):
        whole_number(name, value, 0, _MOST, f"leave {name} out")
    whole_number("n_tokens", n_tokens, 2, _MOST, "try n_tokens=32768")
    context = checked_context(model, context)
    numbered = _numbered(model, several_texts("texts", texts), n_tokens, context)
    pieces, active, n_read = _active_places(model, numbered, sae, wanted)
    strongest = _strongest(active, n_strongest)
    others = [place for place in active if place not in set(strongest)]
    ordinary = random.Random(seed).sample(others, min(n_ordinary, len(others)))  # noqa: S311  a sample, no secret
    rows = [_context(model, pieces, place, "strongest", window) for place in strongest]
    rows += [_context(model, pieces, place, "ordinary", window) for place in sorted(ordinary, reverse=True)]
    columns = ["kind", "activation", "before", "token", "after", "text", "pos"]
    return FeatureReading(
        feature=wanted,
        site=sae.site,
        n_tokens=n_read,
        n_active=len(active),
        contexts=pd.DataFrame(rows, columns=columns),
        effects=_effects(model, sae.W_dec[wanted]),
    )


# activation, number of the piece, position in it
_Place = tuple[float, int, int]
# number of the text, where in it the piece begins, ids
_Piece = tuple[int, int, "Tensor"]


def _numbered(model: Model, texts: Sequence[str], n_tokens: int, context: int) -> Iterator[_Piece]:
    for number, text in enumerate(texts):
        at = 0
        for piece in pieces_of(model, [text], context):
            ids = piece[:n_tokens]
            if len(ids) <= 1:
                return
            yield number, at, ids
            n_tokens -= len(ids)
            at += len(ids)


def _active_places(
    model: Model, numbered: Iterable[_Piece], sae: Sae, feature: int
) -> tuple[list[_Piece], list[_Place], int]:
    """Return the pieces that were read, the places in them where the feature is active, and how many were looked at."""
    pieces: list[_Piece] = []
    active: list[_Place] = []
    n_read = 0
    for piece in numbered:
        vectors = vectors_at(model, piece[-1], sae.site)
        values = sae.activations(vectors)[:, feature]
        active += [(float(values[pos]), len(pieces), pos) for pos in values.nonzero()[:, 0].tolist()]
        pieces.append(piece)
        n_read += int(sae.is_read(vectors).sum())
    return pieces, active, n_read


def _strongest(active: Sequence[_Place], n_wanted: int) -> list[_Place]:
    """Return the strongest places, at most one in a piece: neighbours would say the same thing again."""
    best: dict[int, _Place] = {}
    for place in active:
        if place[1] not in best or place[0] > best[place[1]][0]:
            best[place[1]] = place
    return sorted(best.values(), key=lambda place: -place[0])[:n_wanted]


def _context(model: Model, pieces: Sequence[_Piece], place: _Place, kind: str, window: int) -> list[str | float | int]:
    activation, piece, pos = place
    text, at, ids = pieces[piece]
    tokens = [model.to_text(token_id) for token_id in ids.tolist()]
    before, after = "".join(tokens[max(0, pos - window) : pos]), "".join(tokens[pos + 1 : pos + 1 + window])
    return [kind, activation, before, tokens[pos], after, text, at + pos]


def _effects(model: Model, direction: Tensor) -> pd.DataFrame:
    columns = ["kind", "token", "logit"]
    if model.family != "decoder" or len(direction) != model.d_model:
        return pd.DataFrame(columns=columns)
    # At the length that the final norm gives to every vector; a norm with a bias speaks without any vector too.
    vector = direction * len(direction) ** 0.5
    both = unembed(model, torch.stack([vector, torch.zeros_like(vector)]).to(model.W_U)).float().cpu()
    effect = both[0] - both[1]
    effect = effect - effect.mean()
    n_shown = min(_EFFECTS, len(effect))
    rows: list[list[str | float]] = []
    for kind, sign in (("promotes", 1), ("suppresses", -1)):
        values, chosen = (sign * effect).topk(n_shown)
        rows += [
            [kind, model.to_text(token_id), sign * value]
            for token_id, value in zip(chosen.tolist(), values.tolist(), strict=True)
        ]
    return pd.DataFrame(rows, columns=columns)
