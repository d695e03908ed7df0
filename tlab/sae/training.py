"""`train`: learn a sparse dictionary of what stands at one site, from a model's own run over texts."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from tlab.errors import UnknownOption, UnknownTarget, shown
from tlab.learning.corpus import LONGEST_FACTOR, checked_context, is_ordinary, loads, pieces_of, vectors_at
from tlab.learning.limits import fraction, one_stream_model, several_texts, usable_device, vector_site
from tlab.manifest import experiment
from tlab.plain import whole, whole_number
from tlab.results import Result
from tlab.sae.dictionary import Dictionary, Recipe, fit, variance_unexplained
from tlab.sites import axes_of, check_site

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Bool, Float
    from torch import Tensor

    from tlab.models import Model

__all__ = ["Sae", "checked_sae", "train"]

_DEFAULT_K = 32
_WIDTHS = 4  # features for each dimension of the stream, unless told otherwise
_BUFFER_BYTES = 256 * 2**20
_HELD_OUT_SHARE = 0.1
_MOST_HELD_OUT = 8192
_MOST = 10**9
_FEWEST_PIECES = 2
_SHORTEST_PIECE = 2
_SLICE = 1024


@dataclass(frozen=True, eq=False, repr=False)
class Sae(Result):
    """A sparse autoencoder of one site of one model, with how it came out.

    Args:
        model: the name of the model whose vectors it was trained on.
        site: where they stood.
        W_enc: `width feature`: reads the features.
        b_enc: `feature`: their thresholds.
        W_dec: `feature width`: writes them; every row has length 1.
        b_dec: `width`: what is there without any feature.
        mean: `width`: the mean of the vectors it was trained on.
        k: how many features may be active at once; 0 if `l1` decides.
        l1: the price of activation; 0 with top-k.
        skip: how many positions at the beginning of each text were left out, and are left alone.
        longest: vectors longer than this (massive activations) were left out, and are left alone.
        frequency: `feature`: on what share of the held-out tokens each is active.
        largest: `feature`: the largest activation of each on the held-out tokens.
        n_tokens: how many tokens it was trained on, each many times or not even once as `steps` and `batch` say.
        n_held_out: how many other tokens the following three were measured on.
        held_out_fvu: the share of the variance there that it leaves unexplained.
        held_out_l0: how many features are active there at once, on average.
        n_dead: how many features are active on none of them.
        steps: number of optimiser steps.
        batch: vectors in each.
        seed: of everything random.
        curve: `step loss fvu l0 dead held_out_fvu` along the training.

    """

    model: str
    site: str
    W_enc: Float[Tensor, "width feature"]
    b_enc: Float[Tensor, " feature"]
    W_dec: Float[Tensor, "feature width"]
    b_dec: Float[Tensor, " width"]
    mean: Float[Tensor, " width"]
    k: int
    l1: float
    skip: int
    longest: float
    frequency: Float[Tensor, " feature"]
    largest: Float[Tensor, " feature"]
    n_tokens: int
    n_held_out: int
    held_out_fvu: float
    held_out_l0: float
    n_dead: int
    steps: int
    batch: int
    seed: int
    curve: pd.DataFrame

    @property
    def n_features(self) -> int:
        """Number of features, dead ones included."""
        return len(self.b_enc)

    @property
    def dictionary(self) -> Dictionary:
        """The weights, as what can encode and decode vectors."""
        return Dictionary(self.W_enc, self.b_enc, self.W_dec, self.b_dec, self.k)

    def direction(self, feature: int) -> Float[Tensor, " width"]:
        """Return the vector that the feature adds at its strongest: its row of `W_dec` times its largest activation.

        Raises:
            UnknownTarget: there is no such feature.

        """
        self.check_features([feature])
        return self.W_dec[feature] * self.largest[feature]

    def check_features(self, features: object) -> tuple[int, ...]:
        """Return feature numbers as a tuple, each once.

        Raises:
            UnknownTarget: one of them is no number of a feature.

        """
        given = tuple(features) if isinstance(features, Iterable) else (features,)
        numbers = [whole(feature) for feature in given]
        for number, feature in zip(numbers, given, strict=True):
            if number is None or not 0 <= number < self.n_features:
                raise UnknownTarget(
                    f"feature unknown: expected a number from 0 to {self.n_features - 1}, got {shown(feature)}; "
                    f"find active ones with tlab.sae.encode"
                )
        return tuple(dict.fromkeys(number for number in numbers if number is not None))

    def activations(self, vectors: Float[Tensor, "pos width"]) -> Float[Tensor, "pos feature"]:
        """Return every feature's activation in one text, given its vectors from the first position on.

        At positions that were left out of the training, nothing is active.
        """
        return self.dictionary.encode(vectors) * self.is_read(vectors)[:, None]

    def is_read(self, vectors: Float[Tensor, "pos width"]) -> Bool[Tensor, " pos"]:
        """Tell which positions of a text the autoencoder reads, given its vectors from the first position on."""
        return is_ordinary(vectors, self.skip, self.longest)

    def to_frame(self) -> pd.DataFrame:
        """Return the training curve: `step loss fvu l0 dead held_out_fvu`."""
        return self.curve.copy()

    def features(self) -> pd.DataFrame:
        """Return one row a feature: `feature frequency largest`, the most frequent first."""
        frame = pd.DataFrame(
            {"feature": range(self.n_features), "frequency": self.frequency.tolist(), "largest": self.largest.tolist()}
        )
        return frame.sort_values("frequency", ascending=False, kind="stable").reset_index(drop=True)

    def explain(self) -> str:
        """Say how well the features describe the vectors, on how much text, and what that is worth."""
        rule = f"the top {self.k}" if self.k else f"an l1 penalty of {self.l1:g}"
        return (
            f"{self.n_features:,} features of {self.site} in {self.model!r} ({rule}), learnt from {self.n_tokens:,} "
            f"tokens in {self.steps:,} steps, explain {100 * (1 - self.held_out_fvu):.1f} % of the variance on "
            f"{self.n_held_out:,} held-out tokens with {self.held_out_l0:.1f} features active at once; the mean alone "
            f"explains 0 %, and {self.n_dead:,} features are active on none of these tokens. The first {self.skip} "
            f"positions and vectors longer than {self.longest:,.0f} are left out. Explained variance says nothing yet "
            f"about meaning or use: see tlab.sae.reconstruct for what the model loses, tlab.sae.read for one feature, "
            f"and expect features of these texts, since far more text is usual."
        )


@experiment
def train(
    model: Model,
    texts: Sequence[str],
    *,
    site: str | None = None,
    n_features: int | None = None,
    k: int | None = None,
    l1: float | None = None,
    n_tokens: int = 32_768,
    context: int | None = None,
    steps: int = 1000,
    batch: int = 256,
    lr: float = 2e-3,
    skip: int = 1,
    seed: int = 0,
    device: str = "cpu",
) -> Sae:
    """Train a sparse autoencoder on what stands at one site while the model reads texts.

    The autoencoder writes every vector as a sum of few of its directions, the *features*, which is hoped to take apart
    what the model keeps on top of each other. The texts decide which features can be found: with ten thousands of
    tokens, as here, they are coarse and belong to these texts; published autoencoders have read billions.

    The first position of each text is left out: in this family of models its vector is over a hundred times longer
    than all others (an attention sink) and would be all that the training sees. For the same reason any vector ten
    times longer than the median is left out; later positions have them now and then.

    Args:
        model: from `load`; a decoder or an encoder.
        texts: what it reads: your own, or `tlab.sae.sample_texts()`. They are shuffled; a tenth is held out.
        site: where the vectors stand, one at every position; by default the residual stream after half of the blocks,
            `"blocks.15.resid_post"` in a model of thirty.
        n_features: number of features; by default four for each dimension.
        k: how many of them may be active at once; 32 unless `l1` is given.
        l1: instead of `k`: the price of activation, which leaves their number free. At layer 15 of SmolLM2, 0.1 leaves
            about fifty features active at once, and 0.05 about a hundred and fifty.
        n_tokens: how many tokens are read at most.
        context: how many tokens the model reads at once; longer texts are cut; by default 128.
        steps: number of optimiser steps.
        batch: vectors in each step.
        lr: largest learning rate.
        skip: how many positions at the beginning of each text are left out.
        seed: of the order of texts and vectors, and of the first weights.
        device: where the autoencoder is trained; the model runs where it is.

    Invariants:
        The same arguments on the same machine give the same weights. Every row of `W_dec` has length 1.

    Raises:
        UnknownSite: the site is none of the model's, or holds no single vector a position.
        UnknownOption: an option lies outside its bounds, or the texts are none.
        UnusablePrompt: one of the texts is no text, or is empty.
        UnsupportedModel: an encoder-decoder.

    Cost: one forward pass up to the site over the tokens, and `steps` times about six times the product of batch,
        width and features; memory for 256 MiB of vectors at a time. With the defaults on SmolLM2, some 130 seconds
        of one core.

    Source:
        Gao et al., "Scaling and evaluating sparse autoencoders" (2024), arXiv:2406.04093. Our `largest` and
        `frequency` are measured on held-out tokens.

    """
    one_stream_model(model.name, model.family)
    site = f"blocks.{model.n_layers // 2}.resid_post" if site is None else site
    width = _width(model, vector_site(check_site(site, model.sites)))
    whole_number("n_tokens", n_tokens, 2, _MOST, "try n_tokens=32768")
    context = checked_context(model, context)
    whole_number("skip", skip, 0, context - 1, "try skip=1")
    recipe = _recipe(width, n_features, k, l1, Recipe(0, 0, 0.0, steps, batch, lr, seed, device))
    held_out_pieces, pieces = _split(model, several_texts("texts", texts), context, n_tokens, seed)
    held_out, longest = _held_out(model, held_out_pieces, site, skip)
    n_rows = sum(max(0, len(piece) - skip) for piece in pieces)
    n_loads = max(1, math.ceil(n_rows * width * held_out.itemsize / _BUFFER_BYTES))
    size = max(1, math.ceil(n_rows / n_loads))
    mean = _RunningMean()
    rows = map(mean.passing, loads(model, pieces, site, skip=skip, longest=longest, size=size))
    dictionary, curve = fit(rows, recipe, n_loads=n_loads, held_out=held_out)
    return Sae(
        model=model.name,
        site=site,
        W_enc=dictionary.W_enc,
        b_enc=dictionary.b_enc,
        W_dec=dictionary.W_dec,
        b_dec=dictionary.b_dec,
        mean=mean.value,
        k=recipe.k,
        l1=recipe.l1,
        skip=skip,
        longest=longest,
        n_tokens=mean.n_rows,
        steps=steps,
        batch=batch,
        seed=seed,
        curve=pd.DataFrame(curve),
        **_quality(dictionary, held_out),
    )


def checked_sae(sae: object, model: Model) -> Sae:
    """Return a sparse autoencoder that fits the model.

    Raises:
        UnknownOption: it is none, or the model has no such site with vectors of its width.

    """
    if not isinstance(sae, Sae):
        raise UnknownOption(
            f"sae refused: expected a sparse autoencoder, got {shown(sae)}; train one with tlab.sae.train"
        )
    if sae.site in model.sites and _width(model, sae.site) == len(sae.b_dec):
        return sae
    raise UnknownOption(
        f"sae refused: expected one of {shown(model.name)}, got one of {shown(sae.model)} at {sae.site} "
        f"with vectors of width {len(sae.b_dec)}; train one with tlab.sae.train"
    )


def _width(model: Model, site: str) -> int:
    return {"d_model": model.d_model, "d_mlp": model.d_mlp, "d_vocab": model.d_vocab}[axes_of(site)[-1]]


def _recipe(width: int, n_features: int | None, k: int | None, l1: float | None, rest: Recipe) -> Recipe:
    """Check the options that say how to learn, and fill in what was left out."""
    if k is not None and l1 is not None:
        raise UnknownOption(
            f"sparsity refused: expected k or l1, got both, k={shown(k)} and l1={shown(l1)}; leave one of them out"
        )
    n_features = _WIDTHS * width if n_features is None else n_features
    whole_number("n_features", n_features, 1, _MOST, f"try n_features={_WIDTHS * width}")
    if l1 is None:
        k = min(_DEFAULT_K, n_features) if k is None else k
        whole_number("k", k, 1, n_features, f"try k={min(_DEFAULT_K, n_features)}")
    else:
        fraction("l1", l1, 0, 100, "try l1=0.1")
    whole_number("steps", rest.steps, 1, _MOST, "try steps=1000")
    whole_number("batch", rest.batch, 1, _MOST, "try batch=256")
    whole_number("seed", rest.seed, 0, _MOST, "try seed=0")
    fraction("lr", rest.lr, 0, 1, "try lr=0.002")
    usable_device("device", rest.device)
    return replace(rest, n_features=n_features, k=k or 0, l1=l1 or 0.0)


def _split(
    model: Model, texts: Sequence[str], context: int, n_tokens: int, seed: int
) -> tuple[list[Tensor], list[Tensor]]:
    """Shuffle the texts, cut them into pieces, and keep the first tenth of the pieces out of the training."""
    order = list(texts)
    random.Random(seed).shuffle(order)  # noqa: S311  an order, no secret
    pieces: list[Tensor] = []
    n_left = n_tokens
    for piece in pieces_of(model, order, context):
        pieces.append(piece[:n_left])
        n_left -= len(pieces[-1])
        if n_left < _SHORTEST_PIECE:
            break
    if len(pieces) < _FEWEST_PIECES:
        raise UnknownOption(
            f"texts refused: expected at least {_FEWEST_PIECES} pieces of two tokens or more, got {len(pieces)}; "
            f"give more text, or a smaller context"
        )
    n_held_out = max(1, round(_HELD_OUT_SHARE * len(pieces)))
    return pieces[:n_held_out], pieces[n_held_out:]


def _held_out(model: Model, pieces: Sequence[Tensor], site: str, skip: int) -> tuple[Tensor, float]:
    """Return the held-out vectors, and the length beyond which a vector is left out everywhere."""
    found = torch.cat([vectors_at(model, ids, site)[skip:] for ids in pieces])
    if not len(found):
        raise UnknownOption(
            f"skip refused: expected texts longer than {skip} tokens, got none in the held-out tenth; try skip=1"
        )
    longest = LONGEST_FACTOR * float(found.norm(dim=-1).median())
    return found[found.norm(dim=-1) <= longest][:_MOST_HELD_OUT], longest


def _quality(dictionary: Dictionary, held_out: Tensor) -> dict[str, Any]:
    """Measure a dictionary on vectors that it was not trained on, a slice at a time."""
    n_active = torch.zeros(len(dictionary.b_enc))
    largest = torch.zeros(len(dictionary.b_enc))
    found = torch.empty_like(held_out)
    for at in range(0, len(held_out), _SLICE):
        activations = dictionary.encode(held_out[at : at + _SLICE])
        n_active += (activations > 0).sum(0)
        largest = torch.maximum(largest, activations.amax(0))
        found[at : at + _SLICE] = dictionary.decode(activations)
    return {
        "frequency": n_active / len(held_out),
        "largest": largest,
        "n_held_out": len(held_out),
        "held_out_fvu": variance_unexplained(held_out, found),
        "held_out_l0": float(n_active.sum() / len(held_out)),
        "n_dead": int((n_active == 0).sum()),
    }


class _RunningMean:
    """The mean of all vectors that passed, which no load holds at once."""

    def __init__(self) -> None:
        self.n_rows = 0
        self._sum: Tensor | None = None

    def passing(self, rows: Tensor) -> Tensor:
        total = rows.sum(0, dtype=torch.float64)
        self._sum = total if self._sum is None else self._sum + total
        self.n_rows += len(rows)
        return rows

    @property
    def value(self) -> Tensor:
        if self._sum is None:
            raise ValueError("no vector has passed")
        return (self._sum / self.n_rows).float()
