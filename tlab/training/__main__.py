"""`python -m tlab.training TOY`: train a toy again, with the settings that made the shipped weights."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from tlab.errors import TlabError
from tlab.training import dates, induction, modular_addition, superposition
from tlab.training.curves import TrainingCurve
from tlab.training.recording import write

_TOYS = {
    "induction": induction.train,
    "modular-addition": modular_addition.train,
    "dates": dates.train,
    "superposition": superposition.train,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 after one line on the standard error stream."""
    parser = argparse.ArgumentParser(prog="python -m tlab.training", description=__doc__)
    parser.add_argument("toy", choices=sorted(_TOYS))
    parser.add_argument("--into", type=Path, help="folder to write, by default toy-TOY in the working directory")
    parser.add_argument("--steps", type=int, help="stop after as many steps; by default the whole training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="other numbers round differently (default: 1)")
    options = parser.parse_args(arguments)
    name = f"toy-{options.toy}"
    try:
        torch.set_num_threads(options.threads)
        trained = _TOYS[options.toy](steps=options.steps, seed=options.seed, report=_say)
        folder = write(trained, options.into or Path(name))
    except (TlabError, OSError) as error:
        print(f"tlab.training: {error}", file=sys.stderr)  # noqa: T201  a command speaks
        return 1
    except KeyboardInterrupt:
        print("tlab.training: interrupted; nothing was written", file=sys.stderr)  # noqa: T201
        return 1
    curve = TrainingCurve(
        name=name, watched=trained.watched, seed=trained.seed, checkpoints=trained.checkpoints, frame=trained.frame
    )
    print(f"{curve.explain()}\nWritten to {folder}")  # noqa: T201
    return 0


def _say(step: int, loss: float) -> None:
    print(f"step {step:6}  loss of the batch {loss:.4g}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
