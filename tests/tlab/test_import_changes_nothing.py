"""`import tlab` in a fresh interpreter: no file, no thread, no connection, no heavy view, no changed setting."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]

_PROBE = """
import json, os, random, signal, socket, sys, threading

connections = []

def refuse(*arguments, **options):
    connections.append(repr(arguments))
    raise OSError("this test has no network")

socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refuse

# What these do is theirs (TransformerLens makes transformers' log quieter); the question is what tlab adds.
import torch, transformers, transformer_lens

def settings():
    return [
        torch.is_grad_enabled(), torch.get_num_threads(), str(torch.get_default_dtype()), torch.initial_seed(),
        hash(random.getstate()), str(signal.getsignal(signal.SIGINT)), str(signal.getsignal(signal.SIGTERM)),
        str(sys.excepthook), str(sys.displayhook), os.getcwd(),
        transformers.utils.logging.is_progress_bar_enabled(),
    ]

before = settings()
import tlab

print(json.dumps({
    "changed": [[old, new] for old, new in zip(before, settings()) if old != new],
    "threads": [thread.name for thread in threading.enumerate()],
    "connections": connections,
    "loaded": [name for name in ("plotly", "bertviz", "IPython", "matplotlib") if name in sys.modules],
    "models": len(tlab.models()),
    "missing": [name for name in tlab.__all__ if not hasattr(tlab, name)],
}))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty home."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def found(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Import tlab in a fresh interpreter and return what could be seen of it from inside."""
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(_ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(tmp_path_factory.mktemp("scratch")),
    }
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", _PROBE],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stderr == ""
    answer: dict[str, object] = json.loads(finished.stdout)
    return answer


def test_importing_writes_no_file(home: Path, found: dict[str, object]) -> None:
    assert found["models"]
    assert list(home.iterdir()) == []


def test_importing_starts_no_thread(found: dict[str, object]) -> None:
    assert found["threads"] == ["MainThread"]


def test_importing_opens_no_connection(found: dict[str, object]) -> None:
    assert found["connections"] == []


def test_importing_brings_no_drawing_library(found: dict[str, object]) -> None:
    assert found["loaded"] == []


def test_importing_changes_no_setting(found: dict[str, object]) -> None:
    assert found["changed"] == []


def test_every_public_name_exists(found: dict[str, object]) -> None:
    assert found["missing"] == []
