"""The project's toy models: how each is trained, what its weights are known to do, and the shipped folders.

`python -m tlab.training TOY` trains one again. Refuses: experiments on them, which are the same as on every model.
"""

from __future__ import annotations

from tlab.training import dates, fourier, induction, modular_addition, superposition
from tlab.training.curves import PhaseChange, TrainingCurve, phase_change
from tlab.training.modelling import ToyConfig, ToyForCausalLM
from tlab.training.recording import Trained, write
from tlab.training.store import TOYS, checkpoints, curve, load_superposition, load_toy, record, toy_folder
from tlab.training.superposition import SuperpositionModel

__all__ = [
    "TOYS",
    "PhaseChange",
    "SuperpositionModel",
    "ToyConfig",
    "ToyForCausalLM",
    "Trained",
    "TrainingCurve",
    "checkpoints",
    "curve",
    "dates",
    "fourier",
    "induction",
    "load_superposition",
    "load_toy",
    "modular_addition",
    "phase_change",
    "record",
    "superposition",
    "toy_folder",
    "write",
]
