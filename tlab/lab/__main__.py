"""`python -m tlab.lab freeze FOLDER`: work out the Lab's answers ahead, one file a prompt, for where no kernel is."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from tlab.errors import TlabError
from tlab.lab.frozen import frozen_text
from tlab.lab.prompts import PROMPTS
from tlab.loading import load


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 after one line on the standard error stream."""
    parser = argparse.ArgumentParser(prog="python -m tlab.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    freeze = commands.add_parser("freeze", help="write one file of answers for each of the Lab's prompts")
    freeze.add_argument("folder", type=Path, help="where to; it is made if it is missing")
    freeze.add_argument("--model", default="smollm2-135m", help="whose answers (default: %(default)s)")
    names = [one.name for one in PROMPTS]
    freeze.add_argument(
        "--only", nargs="+", choices=names, default=names, metavar="NAME", help=f"of {', '.join(names)}"
    )
    options = parser.parse_args(arguments)
    # Sums over several threads are rounded in another order each time, and a file is to be the same twice.
    torch.set_num_threads(1)
    try:
        _freeze(options.folder, options.model, options.only)
    except (TlabError, OSError) as error:
        print(f"tlab.lab freeze: {error}", file=sys.stderr)  # noqa: T201  a command speaks
        return 1
    return 0


def _freeze(folder: Path, name: str, only: list[str]) -> None:
    model = load(name)
    folder.mkdir(parents=True, exist_ok=True)
    for one in PROMPTS:
        if one.name not in only:
            continue
        text = frozen_text(model, one, on_step=lambda step: print(f"{step} …", file=sys.stderr))  # noqa: T201
        path = folder / f"{one.name}.json"
        path.write_text(text, encoding="utf-8")
        print(f"{path}: {len(text.encode()) / 1e6:.2f} MB", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
