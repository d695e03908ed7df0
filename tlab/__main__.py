"""`python -m tlab fetch NAME`: put a catalogue model into the cache, or repair it there."""

from __future__ import annotations

import argparse
import sys

from tlab import weights
from tlab.catalogue import CATALOGUE
from tlab.errors import DamagedModelCache, TlabError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 after one line on the standard error stream."""
    parser = argparse.ArgumentParser(prog="python -m tlab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fetch = commands.add_parser("fetch", help="convert a model into the cache, or check and repair it there")
    fetch.add_argument("name", choices=sorted(name for name, entry in CATALOGUE.items() if entry.form == "gguf"))
    options = parser.parse_args(arguments)
    try:
        _fetch(options.name)
    except (TlabError, OSError) as error:
        print(f"tlab fetch: {error}", file=sys.stderr)  # noqa: T201  a command speaks
        return 1
    return 0


def _fetch(name: str) -> None:
    entry = CATALOGUE[name]
    folder = weights.cache_folder(entry)
    if folder.exists():
        try:
            weights.verify(entry, thorough=True)
        except DamagedModelCache as error:
            print(f"{error}. Rebuilding it now.", file=sys.stderr)  # noqa: T201
        else:
            return
    print(f"Converting {entry.title} into {folder} (once, about 20 s) …", file=sys.stderr)  # noqa: T201
    weights.build(entry)


if __name__ == "__main__":
    sys.exit(main())
