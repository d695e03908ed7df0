"""Starting the real service on a free port over the built site, for benchmarks and end-to-end tests."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SITE", "served_book"]

SITE = Path(__file__).parents[1] / "build" / "html"
_START_S = 180
_STOP_S = 30


@contextmanager
def served_book(state: Path, *, site: Path = SITE, options: tuple[str, ...] = ()) -> Iterator[str]:
    """Serve `site` with kernels and chat, keeping all state below `state`; yield the address; stop it at the end.

    Raises:
        RuntimeError: the service ended, or printed no address in time; the message holds its last lines.
    """
    port = _free_port()
    command = [sys.executable, "-m", "kernel_service", "--site", str(site), "--port", str(port)]
    command += ["--extension", "kb", "--state-dir", str(state), *options]
    environment = {**os.environ, "TLAB_STATE_DIR": str(state)}
    log_path = state / "service.log"
    with log_path.open("w") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, start_new_session=True
        )
        try:
            yield _address(process, log_path)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise


def _address(process: subprocess.Popen[str], log_path: Path) -> str:
    lines: queue.Queue[str] = queue.Queue()
    stdout = process.stdout
    if stdout is None:
        raise RuntimeError("service without output: expected a pipe, got none; start it with stdout=PIPE")
    # The reader goes on after the address, so that a full pipe never stops the service; it ends with the service.
    threading.Thread(target=_read_into, args=(stdout, lines), daemon=True).start()
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            line = lines.get(timeout=0.2)
        except queue.Empty:
            continue
        address = next((word for word in line.split() if word.startswith("http://")), None)
        if address:
            return address.rstrip("/") + "/"
    tail = "\n".join(log_path.read_text().splitlines()[-15:])
    raise RuntimeError(f"service not up: expected an address within {_START_S} s, got none; its last lines:\n{tail}")


def _read_into(stream: IO[str], lines: queue.Queue[str]) -> None:
    with stream:
        for line in stream:
            lines.put(line)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
