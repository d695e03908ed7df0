"""The rehearsal: one kernel answers one reader in throw-away children, and the zygote imports what that took.

Forks made afterwards find everything warm. The zygote itself opens no ZMQ socket: kernel and reader are both children.
"""

import importlib
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from kernel_service import forked_kernel
from kernel_service.forked_kernel import KernelLimits, KernelRequest

_log = logging.getLogger(__name__)

_PATIENCE_S = 60.0
_CELLS = ("1 + 1", "print('a line')", "def f():\n    return 1 / 0\nf()", "display({'text/plain': 'x'}, raw=True)")


def rehearse(directory: Path) -> list[str]:
    """Run one kernel and import in this process what it had to import; answers those names."""
    stage = Path(tempfile.mkdtemp(prefix="rehearsal-", dir=directory))
    home = stage / "home"
    home.mkdir()
    connection_file = _write_connection_file(stage)
    zygote_pid = os.getpid()
    kernel = _fork(
        lambda: forked_kernel.run(KernelRequest(connection_file, home), KernelLimits(), zygote_pid=zygote_pid)
    )
    readable, writable = os.pipe()
    reader = _fork(lambda: _read_aloud(connection_file, writable))
    os.close(writable)
    with os.fdopen(readable) as answer:
        heard = answer.read()
    os.waitpid(reader, 0)
    os.kill(kernel, signal.SIGKILL)
    os.waitpid(kernel, 0)
    shutil.rmtree(stage, ignore_errors=True)
    if not heard:
        raise RuntimeError("the rehearsal's kernel did not answer")
    return _import_all(json.loads(heard))


def _write_connection_file(stage: Path) -> Path:
    from jupyter_client.connect import write_connection_file  # noqa: PLC0415 - imported after the preload list

    name, _ = write_connection_file(
        str(stage / "connection.json"),
        transport="ipc",
        ip=str(stage / "c"),
        key=os.urandom(16).hex().encode(),
        shell_port=1,
        iopub_port=2,
        stdin_port=3,
        hb_port=4,
        control_port=5,
    )
    return Path(name)


def _fork(child: Callable[[], NoReturn]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        child()
    return pid


def _read_aloud(connection_file: Path, writable: int) -> NoReturn:
    """Be the reader: run typical cells, then ask the kernel for the modules that it has."""
    status = 1
    try:
        from jupyter_client.blocking.client import BlockingKernelClient  # noqa: PLC0415 - in the child only

        client = BlockingKernelClient(connection_file=str(connection_file))
        client.load_connection_file()
        client.start_channels()
        client.wait_for_ready(timeout=_PATIENCE_S)
        for cell in _CELLS:
            client.execute(cell, reply=True, timeout=_PATIENCE_S)
        client.complete("pri", reply=True, timeout=_PATIENCE_S)
        client.inspect("print", reply=True, timeout=_PATIENCE_S)
        question = {"names": "','.join(__import__('sys').modules)"}
        reply = client.execute("", user_expressions=question, reply=True, timeout=_PATIENCE_S)
        names = reply["content"]["user_expressions"]["names"]["data"]["text/plain"].strip("'\"").split(",")
        with os.fdopen(writable, "w") as answer:
            json.dump(names, answer)
        status = 0
    except Exception:  # noqa: BLE001 - logged; the zygote hears nothing and says so
        _log.exception("the rehearsal failed")
    finally:
        os._exit(status)


def _import_all(names: list[str]) -> list[str]:
    imported = []
    for name in names:
        if name in sys.modules:
            continue
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - a module made at run time; the fork makes it again
            _log.debug("not imported early: %s (%s)", name, error)
        else:
            imported.append(name)
    return imported
