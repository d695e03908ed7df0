"""What the sessions say when something that they need is not there: one line, and an exit status that is not 0."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tlab.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]


def nox(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "noxfile.py"), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, cwd=ROOT, check=False, timeout=120
    )


@pytest.mark.parametrize("session", ["tests", "pdf", "bench"])
def test_without_chromium_a_session_ends_at_once_with_the_repair(session: str) -> None:
    finished = nox(session, CHROMIUM="/nowhere/chromium")
    assert finished.returncode != 0
    said = [line for line in (finished.stdout + finished.stderr).splitlines() if "no Chromium" in line]
    assert len(said) == 1
    assert "got /nowhere/chromium" in said[0]
    assert "apt-get install chromium" in said[0]


def test_the_list_of_sessions_has_a_line_for_each() -> None:
    finished = nox()
    assert finished.returncode == 0
    listed = [line for line in finished.stdout.splitlines() if line.startswith("- ")]
    names = {line.split()[1] for line in listed}
    assert {"serve", "tests", "lint", "offline", "pdf", "notebooks", "bench", "lock"} <= names
    assert all("->" in line and len(line.split("->")[1].strip()) > 20 for line in listed)


def test_an_unknown_session_is_refused() -> None:
    finished = nox("sreve")
    assert finished.returncode != 0
    assert "sreve" in finished.stdout + finished.stderr


def test_the_pins_of_the_weights_agree_with_the_catalogue() -> None:

    pins = (ROOT / "constraints.txt").read_text().splitlines()
    carried = [entry for entry in CATALOGUE.values() if entry.form != "toy"]
    assert carried
    for entry in carried:
        assert entry.wheel in pins
