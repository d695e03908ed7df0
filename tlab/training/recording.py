"""The folder of a trained toy: weights, checkpoints, tokenizer, curve and the record of how they came about.

A folder takes its place by one rename when it is complete. Refuses: reading, which is `tlab.training.store`'s.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from safetensors.torch import save_file

from tlab.training.curves import phase_change
from tlab.weights import quiet_transformers

if TYPE_CHECKING:
    import pandas as pd

    from tlab.training.fitting import Fit, Plan

__all__ = ["CURVE_FILE", "RECORD_FILE", "WEIGHTS_FILE", "Trained", "checkpoint_file", "write"]

WEIGHTS_FILE = "model.safetensors"
CURVE_FILE = "curve.csv"
RECORD_FILE = "training.json"

_SIGNIFICANT = "%.6g"
_FIRST_LOSSES = 5


class _Part(Protocol):
    """A model or a tokenizer: what writes itself into a folder."""

    def save_pretrained(self, save_directory: Path, /) -> object: ...


@dataclass(frozen=True, eq=False)
class Trained:
    """A toy after its training, in memory.

    Args:
        name: of the toy.
        parts: what writes itself into the folder: the model, with its final weights, and its tokenizer.
        plan: by which it was trained.
        seed: of weights and data.
        settings: of the data, for the record.
        watched: the curve's column whose change is looked for.
        frame: the curve, `step` first.
        fitted: the weights along the way.

    """

    name: str
    parts: tuple[_Part, ...]
    plan: Plan
    seed: int
    settings: dict[str, Any]
    watched: str
    frame: pd.DataFrame
    fitted: Fit

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """Steps worth shipping: the first, half of the wait for the change, and the change's start, middle and end.

        Where there was no wait, half of the time after the change takes its place.
        """
        change = phase_change(self.frame, self.watched)
        kept = sorted(self.fitted.history)
        quiet = change.start / 2 if change.start else (change.end + kept[-1]) / 2
        between = min(kept, key=lambda step: abs(step - quiet))
        return tuple(sorted({kept[0], between, change.start, change.middle, change.end} - {kept[-1]}))


def checkpoint_file(step: int) -> str:
    """Return the name of a checkpoint's file."""
    return f"checkpoint-{step}.safetensors"


def write(trained: Trained, folder: Path) -> Path:
    """Write a trained toy into `folder`, in place of what was there.

    Everything is written into a temporary folder beside it first: an interruption leaves the old folder or none, and
    never half of one. The final weights are float32; the checkpoints are float16, which halves them.

    Returns:
        the folder.

    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        fresh = Path(scratch) / "fresh"
        fresh.mkdir()
        with quiet_transformers():
            for part in trained.parts:
                part.save_pretrained(fresh)
        for step in trained.checkpoints:
            halves = {name: weight.half() for name, weight in trained.fitted.history[step].items()}
            save_file(halves, fresh / checkpoint_file(step), metadata={"format": "pt"})
        trained.frame.to_csv(fresh / CURVE_FILE, index=False, float_format=_SIGNIFICANT, lineterminator="\n")
        (fresh / RECORD_FILE).write_text(json.dumps(_record(trained), indent=1, allow_nan=False) + "\n")
        for path in fresh.iterdir():
            path.chmod(0o644)  # safetensors makes its files readable for their owner alone
        if folder.exists():
            shutil.move(folder, Path(scratch) / "replaced")
        fresh.rename(folder)
    return folder


def _record(trained: Trained) -> dict[str, Any]:
    last = trained.frame.iloc[-1].to_dict()
    return {
        "name": trained.name,
        "seed": trained.seed,
        "steps": max(trained.fitted.history),
        "watched": trained.watched,
        "plan": asdict(trained.plan),
        "settings": trained.settings,
        "final": {name: float(_SIGNIFICANT % value) for name, value in last.items()},
        "first_losses": [float(_SIGNIFICANT % value) for value in trained.fitted.losses[:_FIRST_LOSSES]],
        "wall_time_s": round(trained.fitted.wall_time_s, 1),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("torch", "transformers", "safetensors", "tokenizers")},
        },
        "sources_sha256": _sources(trained.name),
    }


def _sources(name: str) -> dict[str, str]:
    """Return the hash of each module that decides about the weights: equal hashes mean the same training script."""
    own = name.removeprefix("toy-").replace("-", "_")
    here = Path(__file__).parent
    return {
        file: hashlib.sha256((here / file).read_bytes()).hexdigest()
        for file in (f"{own}.py", "fitting.py", "modelling.py")
    }
