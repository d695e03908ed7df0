"""Learning a sparse dictionary of directions from vectors, wherever they come from.

A vector is written as a sum of few of the dictionary's unit directions, each with a positive weight, its *activation*.
Refuses: models and texts; it sees vectors only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import embedding_bag, normalize

from tlab.errors import UnknownOption

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jaxtyping import Bool, Float
    from torch import Tensor

__all__ = ["Dictionary", "Recipe", "fit", "variance_unexplained"]

_WARM_UP, _COOL_DOWN = 0.05, 0.25  # shares of the steps
_AUXILIARY_WEIGHT = 1 / 32
# Out of this many parts of the training without firing once, a feature counts as dead.
_DEAD_PARTS, _FEWEST_DEAD_STEPS = 16, 20
_CURVE_POINTS = 40
_CURVE_ROWS = 1024


@dataclass(frozen=True)
class Recipe:
    """How a dictionary is learnt.

    Args:
        n_features: number of directions.
        k: how many of them may be active at once; 0 leaves their number to `l1`.
        l1: the price of activation: the loss is the unexplained share of the variance plus `l1` times the summed
            activations, these measured in lengths of a typical vector (from the mean).
        steps: number of optimiser steps.
        batch: vectors in each.
        lr: largest learning rate of Adam; it rises at the beginning and falls at the end.
        seed: of the first directions and of the order of the vectors.
        device: where to compute.

    """

    n_features: int
    k: int = 32
    l1: float = 0.0
    steps: int = 1000
    batch: int = 256
    lr: float = 2e-3
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class Dictionary:
    """A sparse autoencoder's weights.

    `f = relu(top_k((x - b_dec) W_enc + b_enc))` are the activations of a vector `x`, and `x ≈ f W_dec + b_dec`.

    Args:
        W_enc: reads the features.
        b_enc: their thresholds.
        W_dec: writes them; every row has length 1, so that an activation is a length in the stream.
        b_dec: what is there without any feature.
        k: how many features may be active at once; 0 for all that are positive.

    """

    W_enc: Float[Tensor, "width feature"]
    b_enc: Float[Tensor, " feature"]
    W_dec: Float[Tensor, "feature width"]
    b_dec: Float[Tensor, " width"]
    k: int

    def encode(self, vectors: Float[Tensor, "row width"]) -> Float[Tensor, "row feature"]:
        """Return every feature's activation, most of them 0."""
        scores = (vectors - self.b_dec) @ self.W_enc + self.b_enc
        if self.k == 0:
            return scores.relu()
        values, chosen = scores.topk(self.k, dim=-1)
        return torch.zeros_like(scores).scatter(-1, chosen, values.relu())

    def decode(self, activations: Float[Tensor, "row feature"]) -> Float[Tensor, "row width"]:
        """Return the vectors that these activations stand for."""
        return activations @ self.W_dec + self.b_dec


def fit(
    loads: Iterable[Float[Tensor, "row width"]],
    recipe: Recipe,
    *,
    n_loads: int = 1,
    held_out: Float[Tensor, "row width"] | None = None,
) -> tuple[Dictionary, list[dict[str, float]]]:
    """Learn a dictionary from `n_loads` loads of vectors, one after the other.

    Each load gets its share of the steps and is then forgotten; within it, batches are drawn without repetition until
    all vectors were seen, and then anew. Mean and scale are taken from the first load.

    Returns:
        the weights, in the vectors' own units, and the training curve: one row a measurement, with `step`, `loss`,
        `fvu` (unexplained share of the variance in the batch), `l0` (mean number of active features), `dead` (features
        that have not fired for a sixteenth of the training) and, if there are held-out vectors, `held_out_fvu`.

    Invariants:
        Every row of `W_dec` has length 1.

    Source:
        Gao et al., "Scaling and evaluating sparse autoencoders" (2024), arXiv:2406.04093: top-k activation, the encoder
        starting as the decoder's transpose, the auxiliary loss that revives dead features. Our `l1` is the penalty of
        Cunningham et al., "Sparse Autoencoders Find Highly Interpretable Features in Language Models" (2023),
        arXiv:2309.08600; with it there is no auxiliary loss.

    """
    state: _Training | None = None
    curve: list[dict[str, float]] = []
    done = 0
    every = max(1, recipe.steps // _CURVE_POINTS)
    for number, load in enumerate(loads):
        if state is None:
            state = _Training(load, recipe)
        until = recipe.steps * (number + 1) // max(n_loads, number + 1)
        for batch in _batches(load, recipe, until - done, number):
            row = state.step(batch, done)
            done += 1
            if done % every == 0 or done in {1, recipe.steps}:
                curve.append(_point(row, state, done, held_out))
    if state is None:
        raise UnknownOption(
            "texts refused: expected texts with at least one token behind the positions that are left out, got none; "
            "give longer texts"
        )
    return state.weights(), curve


def variance_unexplained(vectors: Float[Tensor, "row width"], found: Float[Tensor, "row width"]) -> float:
    """Return the share of the vectors' variance around their mean that `found` leaves unexplained."""
    spread = (vectors - vectors.mean(0)).pow(2).sum()
    return float((vectors - found).pow(2).sum() / spread)


def _point(row: dict[str, float], state: _Training, step: int, held_out: Tensor | None) -> dict[str, float]:
    point = {"step": step, **row, "dead": int(state.is_dead.sum())}
    if held_out is not None:
        now = state.weights()
        seen = held_out[:_CURVE_ROWS]
        point["held_out_fvu"] = variance_unexplained(seen, now.decode(now.encode(seen)))
    return point


def _batches(load: Tensor, recipe: Recipe, n_batches: int, number: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(recipe.seed + number)
    size = min(recipe.batch, len(load))
    order, at = torch.randperm(len(load), generator=generator), 0
    for _ in range(n_batches):
        if at + size > len(load):
            order, at = torch.randperm(len(load), generator=generator), 0
        yield load[order[at : at + size]]
        at += size


class _Training:
    """The weights on their way, in units in which a typical vector has length 1 and the mean is the origin."""

    def __init__(self, load: Tensor, recipe: Recipe) -> None:
        self.recipe = recipe
        self.mean = load.mean(0)
        self.scale = float((load - self.mean).pow(2).sum(-1).mean().sqrt().clamp(min=1e-12))
        generator = torch.Generator().manual_seed(recipe.seed)
        directions = normalize(torch.randn(recipe.n_features, load.shape[1], generator=generator), dim=-1)
        parts = [
            directions.T.contiguous(),
            torch.zeros(recipe.n_features),
            directions.clone(),
            torch.zeros(load.shape[1]),
        ]
        self.W_enc, self.b_enc, self.W_dec, self.b_dec = (part.to(recipe.device).requires_grad_() for part in parts)
        self.optimiser = torch.optim.Adam([self.W_enc, self.b_enc, self.W_dec, self.b_dec], lr=recipe.lr)
        self.silent_steps = torch.zeros(recipe.n_features, dtype=torch.long, device=recipe.device)

    @property
    def is_dead(self) -> Bool[Tensor, " feature"]:
        return self.silent_steps > max(_FEWEST_DEAD_STEPS, self.recipe.steps // _DEAD_PARTS)

    def step(self, batch: Tensor, number: int) -> dict[str, float]:
        """Take one optimiser step; return what the batch said before it."""
        vectors = ((batch - self.mean) / self.scale).to(self.recipe.device)
        scores = (vectors - self.b_dec) @ self.W_enc + self.b_enc
        found, activations, fired = self._reconstruct(scores)
        missing = vectors - found
        error = missing.pow(2).sum(-1).mean()
        self.silent_steps += 1
        self.silent_steps[fired] = 0
        loss = error + self.recipe.l1 * activations.sum(-1).mean() + self._auxiliary(scores, missing.detach())
        self._update(loss, number)
        spread = (vectors - vectors.mean(0)).pow(2).sum(-1).mean()
        return {
            "loss": float(loss.detach()),
            "fvu": float(error.detach() / spread),
            "l0": float((activations > 0).sum(-1).float().mean()),
        }

    def _reconstruct(self, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the reconstruction, the activations, and the numbers of the features that fired."""
        if self.recipe.k == 0:
            activations = scores.relu()
            fired = (activations > 0).any(0).nonzero()[:, 0]
            return activations @ self.W_dec + self.b_dec, activations, fired
        values, chosen = scores.topk(self.recipe.k, dim=-1)
        activations = values.relu()
        # Only the chosen rows are read: a product with the whole decoder would take several times as long.
        found = embedding_bag(chosen, self.W_dec, per_sample_weights=activations, mode="sum") + self.b_dec
        return found, activations, torch.unique(chosen[activations > 0])

    def _auxiliary(self, scores: Tensor, missing: Tensor) -> Tensor:
        """Let the best of the dead features explain what the living ones miss; without it they get no gradient."""
        dead = self.is_dead.nonzero()[:, 0]
        if self.recipe.k == 0 or len(dead) == 0:
            return scores.new_zeros(())
        n_helping = min(max(1, scores.shape[-1] // 8, self.recipe.k), len(dead))
        values, chosen = scores[:, dead].topk(n_helping, dim=-1)
        found = embedding_bag(dead[chosen], self.W_dec, per_sample_weights=values.relu(), mode="sum")
        rest = (missing - found).pow(2).sum(-1).mean()
        return _AUXILIARY_WEIGHT * rest / missing.pow(2).sum(-1).mean().clamp(min=1e-12)

    def _update(self, loss: Tensor, number: int) -> None:
        steps = self.recipe.steps
        share = min(1.0, (number + 1) / (_WARM_UP * steps), (steps - number) / (_COOL_DOWN * steps))
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.lr * share
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        # The rows keep their length, so what the gradient says about it would only disturb Adam's averages.
        gradient, rows = self.W_dec.grad, self.W_dec.detach()
        if gradient is not None:
            gradient -= (gradient * rows).sum(-1, keepdim=True) * rows
        self.optimiser.step()
        rows.copy_(normalize(rows, dim=-1))

    def weights(self) -> Dictionary:
        """Return the weights so far, in the units of the vectors."""
        W_enc, b_enc, W_dec, b_dec = (  # noqa: N806  the papers' names
            part.detach().cpu() for part in (self.W_enc, self.b_enc, self.W_dec, self.b_dec)
        )
        return Dictionary(
            W_enc=W_enc.clone(),
            b_enc=b_enc * self.scale,
            W_dec=W_dec.clone(),
            b_dec=self.mean + b_dec * self.scale,
            k=self.recipe.k,
        )
