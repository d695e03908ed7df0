"""`python -m benchmarks.pythons 3.11 3.12`: do the pins install on each Python, and do the torch-free tests pass.

For every version pip resolves the whole lock against published wheels. Where that interpreter is on this machine, the
tests that need no torch also run on it, in an environment that holds just what they import.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["main"]

_ROOT = Path(__file__).parents[1]
# Parsed by this interpreter but not run: a syntax that an older Python lacks shows up here.
_PACKAGES = ("tlab", "kernel_service", "kb", "book", "benchmarks", "noxfile.py", "conf.py")
# torch is left out: its CPU wheels lie on an index of its own, which may be out of reach.
# transformers-stream-generator is pure Python and published as source only.
_NOT_LOOKED_UP = {"torch", "transformers-stream-generator"}


def _resolve(version: str, folder: Path) -> str:
    pins = [line for line in (_ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    wanted = folder / f"pins-{version}.txt"
    wanted.write_text("\n".join(pin for pin in pins if pin.split("==")[0] not in _NOT_LOOKED_UP))
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--no-deps",
        "-q",
        "--target",
        str(folder / version),
    ]
    command += ["--python-version", f"{version}.2", "--only-binary", ":all:", "-r", str(wanted)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode == 0:
        return "all pins have wheels"
    errors = [line for line in finished.stderr.splitlines() if line.startswith("ERROR")]
    return f"FAILED: {errors[-1] if errors else 'no reason given'}"


def _interpreter(version: str) -> str | None:
    candidates = [
        shutil.which(f"python{version}"),
        *map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python")),
    ]
    for candidate in filter(None, candidates):
        probe = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        answer = subprocess.run(probe, capture_output=True, text=True, check=False)
        if answer.stdout.strip() == version:
            return candidate
    return None


def _run(version: str, python: str, folder: Path) -> str:
    home = folder / f"venv-{version}"
    subprocess.run([python, "-m", "venv", str(home)], check=True)
    inside = str(home / "bin" / "python")
    needed = ["pytest"]
    subprocess.run([inside, "-m", "pip", "install", "-q", "-c", "constraints.txt", *needed], check=True, cwd=_ROOT)
    compiled = subprocess.run([inside, "-m", "compileall", "-q", "-f", *_PACKAGES], check=False, cwd=_ROOT)
    tested = subprocess.run([inside, "-m", "pytest", "-q", "tests/architecture"], check=False, cwd=_ROOT)
    return "compiles, tests pass" if compiled.returncode == tested.returncode == 0 else "FAILED on this machine"


def main(versions: list[str]) -> int:
    """Print a line a version; return 1 if one of them failed."""
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        for version in versions:
            python = _interpreter(version)
            told = [_resolve(version, Path(scratch))]
            told.append(_run(version, python, Path(scratch)) if python else "no such interpreter here: not run")
            failed |= any("FAILED" in line for line in told)
            print(f"Python {version}: {'; '.join(told)}", flush=True)  # noqa: T201  a check speaks
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
