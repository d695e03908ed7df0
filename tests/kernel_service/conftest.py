"""Fixtures: a small built book, services on free ports, and readers."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live_service import ROOT, SAMPLES, Reader, Service


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small built book, with something beside it that must not be served."""
    folder = tmp_path_factory.mktemp("build")
    (folder / "secret.txt").write_text("outside")
    html = folder / "html"
    (html / "_static").mkdir(parents=True)
    (html / "lessons").mkdir()
    (html / "index.html").write_text("<h1>The book</h1>")
    (html / "lessons" / "index.html").write_text("<h1>Lessons</h1>")
    (html / "_static" / "page.js").write_text("window.loaded = true")
    (html / "_static" / "frame.html").write_text('<!doctype html><script src="page.js"></script>')
    (html / ".buildinfo").write_text("hidden")
    (html / "leak.txt").symlink_to(folder / "secret.txt")
    return html


@pytest.fixture(scope="session")
def launch(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """Start services; whatever a test leaves running is ended here."""
    started: list[Service] = []

    def start(*arguments: str, preload: str = "import colorsys, numpy; shared = []") -> Service:
        state = tmp_path_factory.mktemp("state")
        command = [
            sys.executable,
            "-m",
            "kernel_service",
            "--site",
            str(site),
            "--port",
            "0",
            "--state-dir",
            str(state),
        ]
        log = state / "service.log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [*command, "--preload", preload, *arguments],
                cwd=ROOT,
                env={**os.environ, "HOME": str(state), "OPENAI_API_KEY": "secret", "PYTHONPATH": str(SAMPLES)},
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("Book open at http://"), log.read_text()
        started.append(Service(process, line.removeprefix("Book open at ").strip().rstrip("/"), log))
        return started[-1]

    yield start
    for service in started:  # all at once
        if service.process.poll() is None:
            service.process.send_signal(signal.SIGINT)
    for service in started:
        with contextlib.closing(service.process.stdout):  # type: ignore[type-var]
            service.stop()


@pytest.fixture(scope="session")
def service(launch: Callable[..., Service]) -> Service:
    """A service that several tests share; each brings its own readers."""
    return launch()


@pytest.fixture
def reader(service: Service) -> Iterator[Reader]:
    """A new reader, whose kernels end with the test."""
    someone = service.reader()
    yield someone
    someone.leave()


@pytest.fixture
def stranger(service: Service) -> Iterator[Reader]:
    """Another reader of the same service."""
    someone = service.reader()
    yield someone
    someone.leave()
