"""`toy-superposition`: more features than dimensions, and what a model does about it when features are rare.

Owns a model of its own, smaller than a transformer: ReLU(WᵀWx + b), one for each of a handful of densities, trained
side by side. Refuses: prompts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from safetensors.torch import save_file
from torch import nn

from tlab.results import Result
from tlab.training.fitting import Plan, fit, seeded
from tlab.training.recording import WEIGHTS_FILE, Trained

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from jaxtyping import Float
    from torch import Tensor

__all__ = ["DENSITIES", "PLAN", "SuperpositionModel", "train"]

DENSITIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
PLAN = Plan(steps=3000, learning_rate=1e-3, weight_decay=0.0, final_fraction=0.5, measured_every=25)

_CONFIG_FILE = "config.json"
_BATCH = 1024
_REPRESENTED = 0.5


@dataclass(frozen=True, eq=False, repr=False)
class SuperpositionModel(Result):
    """Models with fewer dimensions than features, one for each density of the features.

    Args:
        density: probability that a feature is present, one a model.
        importance: weight of each feature in the loss.
        W: what each feature writes into the dimensions; one model after the other.
        b: bias of each feature's output.

    Shapes:
        W: `model d_hidden feature`; b: `model feature`.

    """

    density: tuple[float, ...]
    importance: tuple[float, ...]
    W: Float[Tensor, "model d_hidden feature"]
    b: Float[Tensor, "model feature"]

    def forward(self, x: Float[Tensor, "model batch feature"]) -> Float[Tensor, "model batch feature"]:
        """Return ReLU(WᵀWx + b) for each model."""
        return _forward(self.W, self.b, x)

    @property
    def lengths(self) -> Float[Tensor, "model feature"]:
        """Length ‖W_i‖ of each feature's direction: near 1 when it is represented, near 0 when it is given up."""
        lengths: Tensor = self.W.norm(dim=1)
        return lengths

    @property
    def interference(self) -> Float[Tensor, "model feature"]:
        """For each feature, Σ (Ŵ_i · W_j)² over the other features: how much of them is read in its place."""
        directions = self.W / self.lengths.clamp(min=1e-9)[:, None]
        overlap = (directions.transpose(1, 2) @ self.W).square()
        return overlap.sum(dim=2) - overlap.diagonal(dim1=1, dim2=2)

    @property
    def dimensionality(self) -> Float[Tensor, "model feature"]:
        """Share of a dimension that each feature has for itself: ‖W_i‖² / Σ_j (Ŵ_i · W_j)²."""
        squared = self.lengths.square()
        return squared / (squared + self.interference).clamp(min=1e-9)

    @property
    def n_represented(self) -> tuple[int, ...]:
        """How many features each model represents: those with ‖W_i‖ above 0.5."""
        return tuple((self.lengths > _REPRESENTED).sum(dim=1).tolist())

    def to_frame(self) -> pd.DataFrame:
        """Return `density feature importance length interference dimensionality bias`, one row a model's feature."""
        n_models, n_features = self.b.shape
        return pd.DataFrame(
            {
                "density": [density for density in self.density for _ in range(n_features)],
                "feature": list(range(n_features)) * n_models,
                "importance": list(self.importance) * n_models,
                "length": self.lengths.flatten().tolist(),
                "interference": self.interference.flatten().tolist(),
                "dimensionality": self.dimensionality.flatten().tolist(),
                "bias": self.b.flatten().tolist(),
            }
        )

    def _twin_frame(self) -> pd.DataFrame:
        table = self.to_frame()
        table["represented"] = table["length"] > _REPRESENTED
        counts = table.groupby("density", sort=False)["represented"].sum()
        # Of a feature that was given up, only the direction of what noise is left could meet anything.
        kept = table[table["represented"]].groupby("density", sort=False)[["interference", "dimensionality"]].mean()
        return pd.concat([counts, kept], axis=1).round(3).reset_index()

    def explain(self) -> str:
        """Say how many features each model represents in its dimensions."""
        _, d_hidden, n_features = self.W.shape
        counts = ", ".join(
            f"{count} at density {density:g}" for density, count in zip(self.density, self.n_represented, strict=True)
        )
        return (
            f"{n_features} features, {d_hidden} dimensions. Represented (‖W_i‖ above {_REPRESENTED}): {counts}. "
            f"More than {d_hidden} means superposition: directions that are not orthogonal, and interfere when two "
            f"features are present at once. The features are independent here; those of a language model need not be."
        )

    def save_pretrained(self, save_directory: Path) -> None:
        """Write the weights and what they were trained for, under the names of Hugging Face's files."""
        save_file({"W": self.W, "b": self.b}, save_directory / WEIGHTS_FILE, metadata={"format": "pt"})
        config = {"model_type": "tlab-superposition", "density": self.density, "importance": self.importance}
        (save_directory / _CONFIG_FILE).write_text(json.dumps(config, indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path, weights: dict[str, Tensor]) -> SuperpositionModel:
        """Return the model of a folder, with the final weights or a checkpoint's."""
        config = json.loads((folder / _CONFIG_FILE).read_text())
        return cls(
            density=tuple(config["density"]),
            importance=tuple(config["importance"]),
            W=weights["W"].float(),
            b=weights["b"].float(),
        )


def train(
    *,
    n_features: int = 20,
    d_hidden: int = 5,
    decay: float = 0.7,
    densities: Sequence[float] = DENSITIES,
    steps: int | None = None,
    seed: int = 0,
    report: Callable[[int, float], None] | None = None,
) -> Trained:
    """Train one model a density to give its features back through fewer dimensions.

    A feature is present with the given probability, with a value between 0 and 1; feature i matters `decayⁱ` times
    as much as the first. With dense features the best that a model can do is to keep the most important ones, one a
    dimension. With rare ones it pays to pack more of them in than fit, and to live with the interference.

    Args:
        n_features: that come in and shall come out.
        d_hidden: dimensions between.
        decay: importance of a feature relative to the one before.
        densities: probabilities that a feature is present (their sparsity S is our 1 - density).
        steps: to stop after; by default the plan's.
        seed: of weights and data.
        report: called with the step and its loss.

    Cost: 0.005 s a step on one core; 3,000 steps take less than half a minute.

    Source:
        Elhage et al., "Toy models of superposition" (2022), arXiv:2209.10652. Their W is our W, and their feature
        dimensionality ours.

    """
    importance = tuple(decay**index for index in range(n_features))
    with seeded(seed) as generator:
        held_out = _features(_BATCH * 4, n_features, densities, generator)
        module = _Batched(len(densities), d_hidden, n_features)
        weight, density = torch.tensor(importance), torch.tensor(densities)

        def loss() -> Tensor:
            x = _features(_BATCH, n_features, densities, generator)
            return _errors((module.W, module.b), x, weight, density).sum()

        fitted = fit(module, loss, PLAN, steps=steps, report=report)
    rows = []
    for step, weights in fitted.history.items():
        model = SuperpositionModel(tuple(densities), importance, weights["W"], weights["b"])
        errors = _errors((model.W, model.b), held_out, weight, density)
        row: dict[str, Any] = {"step": step, "loss": float(errors.mean())}
        for name, error, count in zip(map(str, densities), errors.tolist(), model.n_represented, strict=True):
            row[f"loss_{name}"] = error
            row[f"represented_{name}"] = count
        rows.append(row)
    return Trained(
        name="toy-superposition",
        parts=(model,),
        plan=PLAN,
        seed=seed,
        settings={"n_features": n_features, "d_hidden": d_hidden, "decay": decay, "densities": list(densities)},
        watched="loss",
        frame=pd.DataFrame(rows),
        fitted=fitted,
    )


class _Batched(nn.Module):
    """The parameters of all models, and nothing else."""

    def __init__(self, n_models: int, d_hidden: int, n_features: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.randn(n_models, d_hidden, n_features) * (2 / (d_hidden + n_features)) ** 0.5)
        self.b = nn.Parameter(torch.zeros(n_models, n_features))


def _forward(weight: Tensor, bias: Tensor, x: Tensor) -> Float[Tensor, "model batch feature"]:
    hidden = x @ weight.transpose(1, 2)
    return (hidden @ weight + bias[:, None]).relu()


def _errors(model: tuple[Tensor, Tensor], x: Tensor, importance: Tensor, density: Tensor) -> Float[Tensor, " model"]:
    """Return each model's error, divided by what a model that always says 0 is expected to get wrong.

    Without the division, the models with dense features would drown the others in the sum.
    """
    error = (importance * (x - _forward(*model, x)).square()).mean(dim=(1, 2))
    # A present feature is uniform between 0 and 1, and the mean of its square a third.
    return error / (importance.mean() * density / 3)


def _features(
    n: int, n_features: int, densities: Sequence[float], generator: torch.Generator
) -> Float[Tensor, "model batch feature"]:
    shape = (len(densities), n, n_features)
    present = torch.rand(shape, generator=generator) < torch.tensor(densities)[:, None, None]
    return torch.rand(shape, generator=generator) * present
