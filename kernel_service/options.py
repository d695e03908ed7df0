"""The command line: parsed, checked, and refused in one sentence where it asks for what this edition does not do."""

import argparse
import importlib.util
import ipaddress
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from kernel_service.culling import CullLimits
from kernel_service.errors import StartupError, UsageError
from kernel_service.pool import PoolLimits

# One experiment, drawn: it brings in what every cell needs (model, tables, figures), and warms the memory for a run.
DEFAULT_PRELOAD = "import tlab; tlab.predict(tlab.load('smollm2-135m'), 'Hello').plot().to_json()"


@dataclass(frozen=True)
class Options:
    """What the service was asked to do."""

    site: Path
    ip: str
    port: int
    state_dir: Path
    extensions: tuple[str, ...]
    preload: tuple[str, ...]
    pool: PoolLimits
    cull: CullLimits
    zygote: tuple[str, ...]


def parse(arguments: list[str] | None = None) -> Options:
    """Read the command line and check what can be checked without starting anything."""
    given = _parser().parse_args(arguments)
    site = given.site.resolve()
    if not (site / "index.html").is_file():
        raise StartupError(f"serving the book: expected pages at {site}, got no index.html there; build the book first")
    if not hasattr(os, "fork"):
        raise StartupError("starting kernels: expected a system that can fork, got none; use Linux, macOS or WSL")
    _require_loopback(given.ip)
    _require_extensions(given.extension)
    return Options(
        site=site,
        ip=given.ip,
        port=given.port,
        state_dir=given.state_dir.resolve(),
        extensions=tuple(given.extension),
        preload=tuple(given.preload or [DEFAULT_PRELOAD]),
        pool=PoolLimits(
            min_size=given.spares,
            max_size=given.max_kernels,
            max_per_reader=given.max_kernels_per_reader,
            max_waiting=given.max_waiting,
        ),
        cull=CullLimits(idle_s=60 * given.cull_idle_min, abandoned_s=60 * given.cull_abandoned_min),
        zygote=(
            f"--threads={given.kernel_threads}",
            f"--memory-mib={given.kernel_memory_mib}",
            f"--file-mib={given.kernel_file_mib}",
        ),
    )


def bind(options: Options) -> socket.socket:
    """Take the port, so that an occupied one is noticed before anything is started."""
    family = socket.AF_INET6 if ":" in options.ip else socket.AF_INET
    try:
        listener = socket.create_server((options.ip, options.port), family=family)
    except OSError as error:
        raise StartupError(
            f"listening: expected port {options.port} on {options.ip} to be free, got {error.strerror!r}; "
            f"stop what uses it, or choose another with --port {options.port + 1}"
        ) from error
    listener.settimeout(0)
    return listener


def _require_loopback(ip: str) -> None:
    try:
        is_loopback = ip == "localhost" or ipaddress.ip_address(ip).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise UsageError(
            f"listening: expected a loopback address, got {ip!r}: kernels are unconfined in this edition, so only this "
            "machine may use them; leave --ip out"
        )


def _require_extensions(names: list[str]) -> None:
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise UsageError(
                f"loading extensions: expected a package, got {name!r}, which is not installed; see --extension"
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kernel_service",
        description="Serve the book and its live kernels on this machine.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--site", type=Path, default=Path("build/html"), help="folder with the built pages")
    add("--ip", default="127.0.0.1", help="loopback address to listen on")
    add("--port", type=int, default=8888, help="port to listen on; 0 takes a free one")
    add("--state-dir", type=Path, default=Path(".state/kernel_service"), help="for the secret and the zygote's log")
    add("--extension", action="append", default=[], metavar="PACKAGE", help="Jupyter server extension to load; repeat")
    add("--preload", action="append", metavar="STATEMENT", help=f"run before forking; repeat [{DEFAULT_PRELOAD}]")
    add("--spares", type=int, default=2, help="kernels that wait for readers")
    add("--max-kernels", type=int, default=20, help="kernels in total")
    add("--max-kernels-per-reader", type=int, default=3, help="kernels for one reader")
    add("--max-waiting", type=int, default=100, help="readers who may wait in line when all kernels are taken")
    add("--kernel-threads", type=int, default=1, help="threads of one kernel")
    add("--kernel-memory-mib", type=int, default=4096, help="memory of one kernel beyond what all share")
    add("--kernel-file-mib", type=int, default=1024, help="largest file that a kernel may write")
    add("--cull-idle-min", type=float, default=30.0, help="end kernels that ran nothing for so long")
    add("--cull-abandoned-min", type=float, default=5.0, help="end kernels that had no page open for so long")
    return parser
