"""The zygote: a process that has loaded everything, stays single-threaded, and then forks kernels.

Standard input is its lifeline: when that closes, it kills its kernels, removes their homes, and ends. On standard
output it writes one line: `ready`, or `failed: <why>`.
"""

import argparse
import gc
import logging
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any, TextIO

from kernel_service import forked_kernel, rehearsal
from kernel_service.fork_server import ForkServer
from kernel_service.forked_kernel import KernelLimits

_log = logging.getLogger("zygote")

_MIB = 1024 * 1024

# Folders of homes are named so; a killed zygote leaves its own behind.
HOMES = "homes-"

# One thread until the fork: these libraries start theirs when they are imported. Kernels with more threads than free
# cores must wait asleep: a forward pass took 3.4 s instead of 0.2 s on two busy cores while its threads span.
_SINGLE_THREADED = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}


class PreloadError(Exception):
    """A preload statement raised."""


def main(arguments: list[str] | None = None) -> int:
    """Preload, rehearse, announce `ready`, and serve."""
    options = _parse(arguments)
    logging.basicConfig(format="[zygote %(asctime)s] %(message)s", level=logging.INFO)
    report = _take_stdout()
    directory = options.socket.parent
    os.environ.update(_SINGLE_THREADED)
    _forbid_debugger()
    try:
        preload(options.preload)
        early = rehearsal.rehearse(directory)
    except (PreloadError, RuntimeError) as error:
        _log.exception("not ready")
        report.write(f"failed: {error}\n")
        report.flush()
        return 1
    _settle()
    _log.info("ready: %d modules, %d of them after the rehearsal", len(sys.modules), len(early))
    homes = Path(tempfile.mkdtemp(prefix=HOMES, dir=directory))
    zygote_pid = os.getpid()
    with _listen(options.socket) as listener:
        report.write("ready\n")
        report.close()
        request = ForkServer(listener, homes).serve(sys.stdin.fileno())
    if request is not None:
        limits = KernelLimits(
            threads=options.threads,
            memory_bytes=options.memory_mib * _MIB,
            file_bytes=options.file_mib * _MIB,
        )
        forked_kernel.run(request, limits, zygote_pid=zygote_pid)
    options.socket.unlink(missing_ok=True)
    shutil.rmtree(directory if options.remove_directory else homes, ignore_errors=True)
    logging.shutdown()
    os._exit(0)  # taking a gigabyte of modules apart takes seconds, and changes nothing


def preload(statements: list[str]) -> None:
    """Run the statements that load what every kernel shall have."""
    for statement in statements:
        try:
            exec(compile(statement, "<preload>", "exec"), {"__name__": "__preload__"})  # noqa: S102 - this is the point
        except (Exception, SystemExit) as error:
            last = " ".join(f"{type(error).__name__}: {error}".split())[:400]
            raise PreloadError(
                f"preloading kernels: expected {statement!r} to run, got {last}; "
                "repair that, or name another statement with --preload"
            ) from error


def _forbid_debugger() -> None:
    """Make `import debugpy` fail, which ipykernel allows for: it would start threads here and open ports in kernels."""
    sys.modules["debugpy"] = None  # type: ignore[assignment] # None is the documented way to block an import


def _settle() -> None:
    """Become fit to fork: one thread, and a heap that the collector leaves shared."""
    tqdm: Any = sys.modules.get("tqdm")
    if tqdm is not None and tqdm.tqdm.monitor is not None:
        tqdm.tqdm.monitor.exit()
        tqdm.tqdm.monitor = None
        tqdm.tqdm.monitor_interval = 0
    threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    if len(threads) > 1:
        _log.warning("expected one thread before forking, got %s: what was preloaded started them", threads)
    gc.collect()
    gc.disable()
    gc.freeze()


def _take_stdout() -> TextIO:
    """Keep standard output for the one line; what preloaded code prints goes to the log with everything else."""
    report = os.fdopen(os.dup(1), "w")
    sys.stdout.flush()
    os.dup2(2, 1)
    return report


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(64)
    return listener


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m kernel_service.zygote", description=__doc__.splitlines()[0])
    parser.add_argument("--socket", type=Path, required=True, help="where to listen; homes are made beside it")
    parser.add_argument("--remove-directory", action="store_true", help="remove the socket's whole folder at the end")
    parser.add_argument(
        "--preload", action="append", default=[], metavar="STATEMENT", help="run before forking; repeat"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads for each kernel")
    parser.add_argument("--memory-mib", type=int, default=4096, help="memory for each kernel beyond what is shared")
    parser.add_argument("--file-mib", type=int, default=1024, help="largest file that a kernel may write")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
