"""The supervisor: starts the zygote, notices when it dies, and starts it again. It asks it for no kernel."""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kernel_service.errors import ZygoteError
from kernel_service.zygote import HOMES

_log = logging.getLogger(__name__)

_GRACE_S = 3.0
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
# Readers' code has no use for the secrets of whoever runs the service (API keys, database addresses).
_SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "DSN", "DATABASE")


@dataclass
class Supervisor:
    """Keeps one zygote running in `directory`, with its log in `log_file`."""

    directory: Path
    log_file: Path
    preload: Sequence[str]
    options: Sequence[str] = ()
    _process: Process | None = None
    _watch: asyncio.Task[None] | None = None
    _ready: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def socket(self) -> Path:
        """Where the zygote listens."""
        return self.directory / "zygote.sock"

    @property
    def is_ready(self) -> bool:
        """Whether the zygote is there and forks kernels."""
        return self._ready.is_set()

    async def start(self) -> None:
        """Start the zygote and wait until it is ready; from then on it is started again whenever it dies."""
        self.log_file.write_bytes(b"")
        await self._launch()
        self._watch = asyncio.create_task(self._keep_running())

    async def stop(self) -> None:
        """End the zygote, and with it every kernel."""
        if self._watch is not None:
            self._watch.cancel()
        was_ready = self.is_ready
        self._ready.clear()
        process = self._process
        if process is None or process.returncode is not None:
            return
        if was_ready and process.stdin is not None:
            process.stdin.close()  # the lifeline
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GRACE_S):
                    await process.wait()
        if process.returncode is None:  # still loading, or stuck
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def _launch(self) -> None:
        self.directory.mkdir(mode=0o700, exist_ok=True)  # a zygote that ended in good order has removed it
        for stale in self.directory.glob(f"{HOMES}*"):  # of a zygote that was killed
            shutil.rmtree(stale, ignore_errors=True)
        command = [sys.executable, "-m", "kernel_service.zygote", "--socket", str(self.socket), "--remove-directory"]
        command += self.options
        for statement in self.preload:
            command += ["--preload", statement]
            _log.info("preloading kernels: %s", statement)
        with self.log_file.open("ab") as log:
            self._process = process = await asyncio.create_subprocess_exec(
                *command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                env=_without_secrets(os.environ),
                start_new_session=True,  # Ctrl-C in the terminal is for the service alone
            )
        if process.stdout is None:
            raise ZygoteError("starting the zygote: expected a pipe for its answer, got none")
        answer = (await process.stdout.readline()).decode().strip()
        if answer != "ready":
            status = await process.wait()
            why = answer.removeprefix("failed: ") or f"the zygote ended with status {status} before it was ready"
            raise ZygoteError(f"{why} (details in {self.log_file})")
        _log.info("the zygote is ready (process %d)", process.pid)
        self._ready.set()

    async def _keep_running(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while self._process is not None:
            status = await self._process.wait()
            self._ready.clear()
            _log.error("the zygote ended with status %d: all kernels are gone; starting another", status)
            while not self._ready.is_set():
                await asyncio.sleep(pause_s)
                try:
                    await self._launch()
                    pause_s = _FIRST_PAUSE_S
                except (ZygoteError, OSError) as error:
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                    _log.error("%s; trying again in %g s", error, pause_s)


def _without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in environment.items() if not any(word in name.upper() for word in _SECRET_WORDS)
    }
