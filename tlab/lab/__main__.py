"""`python -m tlab.lab freeze FOLDER`: work out the Lab's answers ahead, one file a prompt, for where no kernel is."""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tlab.errors import TlabError
from tlab.lab.frozen import freeze
from tlab.lab.prompts import PROMPTS
from tlab.loading import load


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 after one line on the standard error stream."""
    parser = argparse.ArgumentParser(prog="python -m tlab.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    freezing = commands.add_parser("freeze", help="write one file of answers for each of the Lab's prompts")
    freezing.add_argument("folder", type=Path, help="where to; it is made if it is missing")
    freezing.add_argument("--model", default="smollm2-135m", help="whose answers (default: %(default)s)")
    names = [one.name for one in PROMPTS]
    freezing.add_argument(
        "--only", nargs="+", choices=names, default=names, metavar="NAME", help=f"of {', '.join(names)}"
    )
    options = parser.parse_args(arguments)
    try:
        _freeze(options.folder, options.model, options.only)
    except (TlabError, OSError) as error:
        print(f"tlab.lab freeze: {error}", file=sys.stderr)  # noqa: T201  a command speaks
        return 1
    return 0


def _freeze(folder: Path, name: str, only: list[str]) -> None:
    load(name)  # a name that no model has is said once, before anything is begun
    folder.mkdir(parents=True, exist_ok=True)
    # Each prompt is worked out by one process alone, so the numbers do not depend on how many there are.
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as processes:
        for path in processes.map(freeze, *zip(*((folder, name, one) for one in only), strict=True)):
            print(f"{path}: {path.stat().st_size / 1e6:.2f} MB", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
