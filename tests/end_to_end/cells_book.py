"""A small book of cells and a service for it that starts in seconds: no chat, no model, and it can be killed."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = Path(__file__).parent / "samples" / "cells"
_START_S = 60.0
_STOP_S = 30.0


def build(target: Path) -> Path:
    """Build the samples with the book's own theme and page code; answers the folder of the pages."""
    own = (f"book.extensions.{name}" for name in ("left_out", "maths", "mime", "one_style", "page"))
    settings = {
        "extensions": ",".join(["myst_nb", "sphinx_design", *own]),
        "include_patterns": "**",
        "nb_execution_mode": "force",
        "nb_execution_cache_path": str(target / "executed"),
    }
    pages = target / "html"
    defined = [word for name, value in settings.items() for word in ("-D", f"{name}={value}")]
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-c", str(ROOT), *defined]
    command += ["-d", str(target / "doctrees"), str(SAMPLES), str(pages)]
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    return pages


@dataclass
class CellsService:
    """The real service over those pages, always on the same port, with the same readers."""

    site: Path
    state: Path
    port: int = 0
    process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        """Where the pages are."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self, *options: str) -> None:
        """Start it; returns when kernels can be had."""
        self.port = self.port or _free_port()
        command = [sys.executable, "-m", "kernel_service", "--site", str(self.site), "--port", str(self.port)]
        command += ["--state-dir", str(self.state), "--preload", "import time", *options]
        with (self.state / "service.log").open("a") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        stdout = self.process.stdout
        assert stdout is not None
        assert select.select([stdout], [], [], _START_S)[0], "the service printed no address in time"
        assert "Book open" in stdout.readline(), (self.state / "service.log").read_text()

    def stop(self) -> None:
        """Stop it as Ctrl-C does."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGINT)
        self.process.wait(_STOP_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None

    def kill_kernel(self, pid: int) -> None:
        """Kill a kernel of this service as the system does when memory runs out."""
        assert self.process is not None
        assert pid in {child.pid for child in psutil.Process(self.process.pid).children(recursive=True)}
        os.kill(pid, signal.SIGKILL)


class Cable:
    """A network between page and service that can be cut: connections break, and no new one comes through."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._is_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """Where the page finds the service."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/"

    def cut(self) -> None:
        """Break what is connected, and refuse what comes."""
        self._is_cut = True
        for end in self._ends:
            _hang_up(end)
        self._ends.clear()

    def mend(self) -> None:
        """Let connections through again."""
        self._is_cut = False

    def close(self) -> None:
        """Pull it out."""
        _hang_up(self._listener)
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._target))
            self._ends += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_pass_on, args=(source, sink), daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    _hang_up(source)
    _hang_up(sink)


def _hang_up(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
