"""Sparse autoencoders: train one on a site of a model, read its features, and ablate or steer along them."""

from __future__ import annotations

from tlab.learning.texts import sample_texts
from tlab.sae.editing import FeatureAblation, FeatureSteering, ablate, steer
from tlab.sae.fidelity import Reconstruction, reconstruct
from tlab.sae.reading import FeatureActivations, FeatureReading, encode, read
from tlab.sae.training import Sae, train

__all__ = [
    "FeatureAblation",
    "FeatureActivations",
    "FeatureReading",
    "FeatureSteering",
    "Reconstruction",
    "Sae",
    "ablate",
    "encode",
    "read",
    "reconstruct",
    "sample_texts",
    "steer",
    "train",
]
