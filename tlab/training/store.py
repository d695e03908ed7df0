"""The shipped toys: where their folders are, and how weights, checkpoints and curves are read from them.

Refuses: training and writing.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from safetensors.torch import load_file
from transformers import AutoModelForSeq2SeqLM, PreTrainedTokenizerFast

from tlab.errors import MissingModelSource, UnknownModel, UnknownOption, shown
from tlab.training.curves import TrainingCurve
from tlab.training.modelling import ToyForCausalLM
from tlab.training.recording import CURVE_FILE, RECORD_FILE, WEIGHTS_FILE, checkpoint_file
from tlab.training.superposition import SuperpositionModel
from tlab.weights import quiet_transformers

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

__all__ = ["TOYS", "checkpoints", "curve", "load_superposition", "load_toy", "record", "toy_folder"]

TOYS = ("toy-induction", "toy-modular-addition", "toy-dates", "toy-superposition")

_WITHOUT_PROMPT = "toy-superposition"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)\.safetensors")


def toy_folder(name: str) -> Path:
    """Return the folder that ships with tlab: weights, checkpoints, tokenizer, curve and the training's record.

    Raises:
        UnknownModel: no toy has this name.
        MissingModelSource: the installation lacks the folder.

    """
    if name not in TOYS:
        raise UnknownModel(f"toy unknown: expected one of {', '.join(TOYS)}, got {shown(name)}; try {TOYS[0]!r}")
    folder = Path(__file__).parent / "weights" / name
    if not (folder / WEIGHTS_FILE).is_file():
        raise MissingModelSource(
            f"toy {name!r} has no weights: expected {WEIGHTS_FILE}, got no such file at {folder}; "
            f"train them with: python -m tlab.training {name.removeprefix('toy-')}"
        )
    return folder


def load_toy(name: str, *, step: int | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Load a toy with its tokenizer, as it was at the end of training or at a checkpoint.

    Checkpoints are stored in float16 and computed in float32, as the final weights are.

    Args:
        name: one of `TOYS`, but the one without prompts (see `load_superposition`).
        step: one of `checkpoints(name)`; by default the last.

    Returns:
        the model, ready to run, with eager attention so that patterns can be read; and the tokenizer.

    Raises:
        UnknownModel: no toy has this name, or it takes no prompt.
        UnknownOption: no checkpoint was kept at this step.

    """
    folder = toy_folder(name)
    if name == _WITHOUT_PROMPT:
        raise UnknownModel(
            f"toy takes no prompt: expected a toy with a tokenizer, got {name!r}; "
            f"load it with tlab.training.load_superposition()"
        )
    kind = AutoModelForSeq2SeqLM if name == "toy-dates" else ToyForCausalLM
    with quiet_transformers():
        model: PreTrainedModel = kind.from_pretrained(folder, attn_implementation="eager", local_files_only=True)
    if step is not None:
        # Shared weights are stored once; the others that bear the name share the memory and follow.
        model.load_state_dict(_weights(name, step), strict=False)
    model.requires_grad_(requires_grad=False)
    return model.eval(), PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)


def load_superposition(*, step: int | None = None) -> SuperpositionModel:
    """Load the superposition toy, as it was at the end of training or at a checkpoint.

    Raises:
        UnknownOption: no checkpoint was kept at this step.

    """
    folder = toy_folder(_WITHOUT_PROMPT)
    last = checkpoints(_WITHOUT_PROMPT)[-1]
    return SuperpositionModel.read(folder, _weights(_WITHOUT_PROMPT, last if step is None else step))


def checkpoints(name: str) -> tuple[int, ...]:
    """Return the steps whose weights are shipped, in order; the last is the end of training.

    Args:
        name: of `TOYS`.

    Raises:
        UnknownModel: there is no such toy.

    """
    found = (_CHECKPOINT.fullmatch(path.name) for path in toy_folder(name).iterdir())
    return (*sorted(int(match[1]) for match in found if match), int(record(name)["steps"]))


def curve(name: str) -> TrainingCurve:
    """Return what was measured while the shipped weights were trained.

    Args:
        name: of `TOYS`.

    Units: losses in nats a token, accuracies as shares; the columns' names say the rest.

    Raises:
        UnknownModel: there is no such toy.

    """
    noted = record(name)
    return TrainingCurve(
        name=name,
        watched=noted["watched"],
        seed=int(noted["seed"]),
        checkpoints=checkpoints(name),
        frame=pd.read_csv(toy_folder(name) / CURVE_FILE),
    )


def record(name: str) -> dict[str, Any]:
    """Return how the shipped weights came about: seed, settings, versions, wall time, sources and final figures.

    Args:
        name: of `TOYS`.

    Units: the wall time in seconds, the figures as in `curve`.

    Raises:
        UnknownModel: there is no such toy.

    """
    noted: dict[str, Any] = json.loads((toy_folder(name) / RECORD_FILE).read_text())
    return noted


def _weights(name: str, step: int) -> dict[str, Tensor]:
    kept = checkpoints(name)
    if step not in kept:
        raise UnknownOption(
            f"step refused: expected one of {', '.join(map(str, kept))}, got {shown(step)} at {name}; try {kept[0]}"
        )
    file = WEIGHTS_FILE if step == kept[-1] else checkpoint_file(step)
    return {key: weight.float() for key, weight in load_file(toy_folder(name) / file).items()}
