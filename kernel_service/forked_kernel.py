"""What a fork does to become one reader's kernel: its limits, its environment, its seeds, its ipykernel.

It runs in the child only, and leaves through `os._exit`: nothing that the zygote registered for its own end runs here.
"""

import ctypes
import gc
import os
import random
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_MIB = 1024 * 1024
_LEAVING_S = 2.0


@dataclass(frozen=True)
class KernelLimits:
    """What one kernel may use: threads, memory beyond what is shared with the zygote, the size of a file, files."""

    threads: int = 1
    memory_bytes: int = 4096 * _MIB
    file_bytes: int = 1024 * _MIB
    open_files: int = 1024


@dataclass(frozen=True)
class KernelRequest:
    """One kernel that was asked for: where its sockets are described, and where it lives."""

    connection_file: Path
    home: Path


def run(request: KernelRequest, limits: KernelLimits, *, zygote_pid: int) -> NoReturn:
    """Turn this process into a kernel; does not return."""
    status = 1
    try:
        _leave_the_zygote(zygote_pid)
        _move_in(request.home)
        _limit(limits)
        _reseed()
        _set_threads(limits.threads)
        gc.enable()
        _serve(request.connection_file)
        status = 0
    except Exception:  # noqa: BLE001 - printed to the log; the exit status tells the zygote
        sys.__excepthook__(*sys.exc_info())
    finally:
        os._exit(status)


def _leave_the_zygote(zygote_pid: int) -> None:
    """Form a process group of its own, so that signals reach the kernel's children too, and die with the zygote."""
    os.setsid()
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if os.getppid() != zygote_pid:
        os._exit(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def _move_in(home: Path) -> None:
    """Live in a private home. Models that were downloaded once are still found: their cache stays where it was."""
    os.umask(0o077)
    os.environ.setdefault("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    scratch = home / "tmp"
    scratch.mkdir()
    os.environ.update(
        HOME=str(home),
        TMPDIR=str(scratch),
        IPYTHONDIR=str(home / ".ipython"),
        JUPYTER_CONFIG_DIR=str(home / ".jupyter"),
        JUPYTER_DATA_DIR=str(home / ".jupyter"),
        JUPYTER_RUNTIME_DIR=str(home / ".jupyter"),
        # The page has the Lab's code and never runs what a kernel sends.
        TLAB_LAB_IN_PAGE="1",
    )
    os.chdir(home)
    sys.argv = ["kernel"]


def _limit(limits: KernelLimits) -> None:
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, limits.open_files)
    _lower(resource.RLIMIT_FSIZE, limits.file_bytes)
    if sys.platform == "linux":  # elsewhere RLIMIT_DATA counts the heap only, and not mmap
        _lower(resource.RLIMIT_DATA, limits.memory_bytes + _data_bytes())


def _lower(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))


def _data_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def _reseed() -> None:
    """Draw new seeds, or all readers would see the same random numbers. Libraries that are not loaded stay so."""
    random.seed()
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.seed()


def _set_threads(threads: int) -> None:
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def _serve(connection_file: Path) -> None:
    from ipykernel.kernelapp import IPKernelApp  # noqa: PLC0415 - only forks need it; the rehearsal imports it early
    from traitlets.config import Config  # noqa: PLC0415 - likewise

    from kernel_service.interrupts import ReaderKernel  # noqa: PLC0415 - likewise

    config = Config()
    config.HistoryManager.enabled = False  # a reader's history dies with their home
    config.IPCompleter.use_jedi = False  # parses whole libraries: slow, and unshares the zygote's memory
    app: Any = IPKernelApp.instance(
        config=config,
        connection_file=str(connection_file),
        kernel_class=ReaderKernel,
        # Linux ends the kernel with the zygote (1 means: no poller); elsewhere ipykernel watches its parent.
        parent_handle=1 if sys.platform == "linux" else os.getppid(),
    )
    app.initialize([])
    app.start()
    signal.setitimer(signal.ITIMER_REAL, _LEAVING_S)  # a thread that does not join ends with the process
    app.close()
