"""`python -m book.offline PAGES ZIP`: pack pages built without live parts into one zip."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

__all__ = ["pack"]

_TOP = "inside-the-transformer"
_LEFT_OUT = {".buildinfo", ".built", "objects.inv"}


def pack(pages: Path, target: Path) -> int:
    """Write all files below `pages` into `target`, under one folder, and return how many there were.

    The zip is written beside its place and renamed, so that a crash leaves no half of it.

    Raises:
        FileNotFoundError: there is no built book at `pages`.
    """
    if not (pages / "index.html").is_file():
        raise FileNotFoundError(
            f"no pages to pack: expected index.html, got none at {pages}; build them with: nox -s offline"
        )
    files = [path for path in sorted(pages.rglob("*")) if path.is_file() and path.name not in _LEFT_OUT]
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".part")
    with zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path, Path(_TOP) / path.relative_to(pages))
    fresh.replace(target)
    return len(files)


def main(arguments: list[str]) -> int:
    """Run the command line; return the exit status."""
    try:
        pages, target = map(Path, arguments)
        count = pack(pages, target)
    except (ValueError, OSError) as error:
        print(f"offline: {error}", file=sys.stderr)  # noqa: T201  a command speaks
        return 1
    print(f"{target}: {count} files, {target.stat().st_size / 1e6:.1f} MB")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
