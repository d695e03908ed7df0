"""The kitchen-sink site: built once for the tests from `kitchen/`, with the book's own extensions and front end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["build"]

_ROOT = Path(__file__).parents[2]
_SOURCE = Path(__file__).parent / "kitchen"
_BUILT = _ROOT / "build" / "kitchen"


def build() -> Path:
    """Build the site and return its folder; cells that have not changed are not run again.

    Raises:
        RuntimeError: Sphinx failed or warned; the message holds its words.
    """
    folder = _BUILT / "html"
    options = ["-b", "html", "-W", "--keep-going", "-q", "-d", str(_BUILT / "doctrees")]
    options += ["-D", f"nb_execution_cache_path={_BUILT / 'executed'}"]
    command = [sys.executable, "-m", "sphinx", *options, str(_SOURCE), str(folder)]
    # The cells run in the page's folder, and are to find this project's packages.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(_ROOT)}
    done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"kitchen sink: expected Sphinx to build it, got {done.returncode}:\n{done.stderr[-3000:]}")
    return folder
