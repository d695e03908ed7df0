"""`reconstruct`: what is lost when a site's vectors are replaced by what the autoencoder makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch

from tlab.engine import Edit, run
from tlab.errors import UnknownOption, UnsupportedModel, shown
from tlab.learning.corpus import checked_context, pieces_of
from tlab.learning.limits import several_texts
from tlab.manifest import experiment
from tlab.plain import whole_number
from tlab.results import Result
from tlab.sae.training import Sae, checked_sae

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from tlab.models import Model

__all__ = ["Reconstruction", "reconstruct"]

_MOST = 10**9
_ITSELF, _SAE, _NOISE, _MEAN, _ZERO = "itself", "reconstruction", "noise of the same size", "mean", "zero"


@dataclass(frozen=True, eq=False, repr=False)
class Reconstruction(Result):
    """The model's loss with the vectors of a site as they are, and with each of several things in their place.

    Args:
        site: where.
        n_tokens: at how many positions the vectors were replaced.
        fvu: the share of their variance around the training's mean that the autoencoder leaves unexplained.
        l0: how many features are active at once, on average.
        losses: what stood at the site → mean cross-entropy of the next token there, in nats a token.
        pieces: `piece n_tokens fvu l0` and one column of losses for each replacement, one row a piece of text.

    """

    site: str
    n_tokens: int
    fvu: float
    l0: float
    losses: dict[str, float]
    pieces: pd.DataFrame

    def recovered(self, baseline: str = _ZERO) -> float:
        """Return how much of the loss that the baseline adds is saved by the reconstruction: 1 is all, 0 none.

        Args:
            baseline: `"zero"` or `"mean"`.

        Raises:
            UnknownOption: another baseline.

        """
        if baseline not in {_ZERO, _MEAN}:
            raise UnknownOption(
                f"baseline refused: expected 'zero' or 'mean', got {shown(baseline)}; try 'mean', the harder one"
            )
        worst, clean = self.losses[baseline], self.losses[_ITSELF]
        return (worst - self.losses[_SAE]) / (worst - clean) if worst != clean else 0.0

    def to_frame(self) -> pd.DataFrame:
        """Return `replacement loss_nats added_nats`: one row for each thing that stood at the site."""
        frame = pd.DataFrame({"replacement": list(self.losses), "loss_nats": list(self.losses.values())})
        frame["added_nats"] = frame["loss_nats"] - self.losses[_ITSELF]
        return frame

    def explain(self) -> str:
        """Say what the reconstruction costs, beside the baselines."""
        losses = self.losses
        return (
            f"At {self.site}, {self.l0:.1f} active features explain {100 * (1 - self.fvu):.1f} % of the variance of "
            f"{self.n_tokens:,} vectors; put in their place, they change the loss from {losses[_ITSELF]:.3f} to "
            f"{losses[_SAE]:.3f} nats a token. It is {losses[_MEAN]:.3f} with the mean vector{self._recovery(_MEAN)}, "
            f"{losses[_ZERO]:.3f} with zeros{self._recovery(_ZERO)}, and {losses[_NOISE]:.3f} with random errors of "
            f"the same size. A small loss shows that what these texts need was kept, and nothing about what a feature "
            f"means."
        )

    def _recovery(self, baseline: str) -> str:
        # Where the baseline does no damage there is none to recover from.
        if self.losses[baseline] <= self.losses[_ITSELF]:
            return ""
        return f" (of that damage the reconstruction recovers {100 * self.recovered(baseline):.1f} %)"


@experiment
def reconstruct(
    model: Model,
    texts: Sequence[str] | str,
    sae: Sae,
    *,
    n_tokens: int = 1024,
    context: int | None = None,
    seed: int = 0,
) -> Reconstruction:
    """Replace a site's vectors by their reconstruction, and compare the model's loss with other replacements.

    The others are the vectors themselves plus random errors as long as the autoencoder's own, the training's mean
    vector, and zeros. What was left out of the training is left alone in all of them.

    Args:
        model: the one that the autoencoder was trained on.
        texts: a prompt or several; better none that it was trained on.
        sae: from `train`.
        n_tokens: how many tokens are read at most.
        context: how many tokens the model reads at once; longer texts are cut; by default 128.
        seed: of the random errors.

    Raises:
        UnknownOption: no autoencoder of this model, or no text with two tokens behind those that are left out.
        UnusablePrompt: one of the texts is no text, or is empty.
        UnsupportedModel: not a decoder.

    Cost: five forward passes over the tokens.

    Source:
        Gao et al., "Scaling and evaluating sparse autoencoders" (2024), arXiv:2406.04093, for the loss as a measure;
        Gurnee, "SAE reconstruction errors are (empirically) pathological" (2024), for errors of the same size.

    """
    if model.family != "decoder":
        raise UnsupportedModel(
            f"model unusable here: expected a decoder, which predicts the next token, got the {model.family} "
            f"{shown(model.name)}; take a model such as 'smollm2-135m'"
        )
    checked_sae(sae, model)
    whole_number("n_tokens", n_tokens, 2, _MOST, "try n_tokens=1024")
    context = checked_context(model, context)
    whole_number("seed", seed, 0, _MOST, "try seed=0")
    given = (texts,) if isinstance(texts, str) else several_texts("texts", texts)
    generator = torch.Generator().manual_seed(seed)
    rows: list[dict[str, float]] = []
    for piece in pieces_of(model, given, context):
        ids = piece[:n_tokens]
        if len(ids) > sae.skip + 1:
            rows += _measured(model, ids, sae, generator)
        n_tokens -= len(ids)
        if n_tokens <= 1:
            break
    if not rows:
        raise UnknownOption(
            f"texts refused: expected one of at least {sae.skip + 2} tokens, got {shown(texts)}; give a longer one"
        )
    return _summed(sae.site, rows)


def _measured(model: Model, ids: Tensor, sae: Sae, generator: torch.Generator) -> list[dict[str, float]]:
    """Return one row of sums over a piece of text, or none if nothing in it can be replaced."""
    plain = run(model, ids, sites=(sae.site,))
    vectors = plain.captured[sae.site][0].float().cpu()
    chosen = sae.is_read(vectors)
    # The last position predicts a token that is not there.
    chosen[-1] = False
    if not bool(chosen.any()):
        return []
    read = vectors[chosen]
    activations = sae.dictionary.encode(read)
    found = sae.dictionary.decode(activations)
    error = read - found
    noise = torch.randn(read.shape, generator=generator)
    noise = noise * (error.norm(dim=-1) / noise.norm(dim=-1))[:, None]
    instead = {_SAE: found, _NOISE: read + noise, _MEAN: sae.mean.expand_as(read), _ZERO: torch.zeros_like(read)}
    row = {
        "n_tokens": int(chosen.sum()),
        "error": float(error.pow(2).sum()),
        "spread": float((read - sae.mean).pow(2).sum()),
        "n_active": float((activations > 0).sum()),
        _ITSELF: _loss(plain.logits, ids, chosen),
    }
    for name, rows in instead.items():
        replaced = vectors.clone()
        replaced[chosen] = rows
        row[name] = _loss(run(model, ids, edits=[_putting(sae.site, replaced)]).logits, ids, chosen)
    return [row]


def _putting(site: str, vectors: Tensor) -> Edit:
    return Edit(site, lambda tensor: vectors.to(tensor)[None])


def _loss(logits: Tensor, ids: Tensor, chosen: Tensor) -> float:
    """Return the summed cross-entropy of the next token at the chosen positions."""
    where = chosen.nonzero()[:, 0].to(ids.device)
    log_probabilities = logits[0, where].float().log_softmax(-1)
    return float(-log_probabilities.gather(-1, ids[where + 1][:, None]).sum())


def _summed(site: str, rows: list[dict[str, float]]) -> Reconstruction:
    sums = pd.DataFrame(rows)
    total = sums.sum()
    names = [_ITSELF, _SAE, _NOISE, _MEAN, _ZERO]
    pieces = pd.DataFrame({"piece": range(len(sums)), "n_tokens": sums["n_tokens"]})
    pieces["fvu"] = sums["error"] / sums["spread"]
    pieces["l0"] = sums["n_active"] / sums["n_tokens"]
    for name in names:
        pieces[name] = sums[name] / sums["n_tokens"]
    return Reconstruction(
        site=site,
        n_tokens=int(total["n_tokens"]),
        fvu=float(total["error"] / total["spread"]),
        l0=float(total["n_active"] / total["n_tokens"]),
        losses={name: float(total[name] / total["n_tokens"]) for name in names},
        pieces=pieces,
    )
