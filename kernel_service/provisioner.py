"""The provisioner: jupyter_client's view of a forked kernel. Poll, wait, signal and kill go through the zygote."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import tempfile
from asyncio import StreamReader, StreamWriter
from collections import deque
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase
from traitlets import Float, Unicode

from kernel_service.errors import ZygoteError

_RETRY_S = 0.1
_SIGNAL_S = 5.0
_PORTS = ("shell_port", "iopub_port", "stdin_port", "hb_port", "control_port")


class ZygoteProvisioner(KernelProvisionerBase):
    """Forks a kernel from a zygote and holds the connection that keeps it alive."""

    socket_path = Unicode(help="The zygote's unix socket.").tag(config=True)
    launch_timeout_s = Float(60.0, help="How long to wait for the zygote, which may be starting.").tag(config=True)

    def __init__(self, **traits: Any) -> None:  # noqa: ANN401 - traits
        super().__init__(**traits)
        self._channels: Path | None = None
        self._writer: StreamWriter | None = None
        self._ended: asyncio.Future[int] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._unanswered: deque[asyncio.Future[None]] = deque()

    @property
    def has_process(self) -> bool:
        """Whether a kernel was started whose end has not been waited for."""
        return self._ended is not None

    async def poll(self) -> int | None:
        """Answer None while the kernel runs, else its exit status (-9: killed)."""
        if self._ended is None:
            return 0
        return self._ended.result() if self._ended.done() else None

    async def wait(self) -> int | None:
        """Wait for the kernel's end."""
        if self._ended is None:
            return 0
        status = await asyncio.shield(self._ended)
        self._ended = None
        return status

    async def send_signal(self, signum: int) -> None:
        """Signal the kernel and the processes that it started; returns when they have the signal.

        Else a cell that is sent after an interrupt could be hit by it.
        """
        if self._ended is None or self._ended.done():
            return
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unanswered.append(answered)
        self._tell(do="signal", signum=int(signum))
        either: set[asyncio.Future[Any]] = {answered, self._ended}
        await asyncio.wait(either, timeout=_SIGNAL_S, return_when=asyncio.FIRST_COMPLETED)

    async def kill(self, restart: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - jupyter_client's signature
        """End the kernel at once."""
        await self.send_signal(signal.SIGKILL)

    async def terminate(self, restart: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - jupyter_client's signature
        """Ask the kernel to end."""
        await self.send_signal(signal.SIGTERM)

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - jupyter_client's signature
        """Choose where the kernel's sockets are: in a private directory, kept over restarts so that clients stay."""
        manager: Any = self.parent
        if self._channels is None:
            self._channels = Path(tempfile.mkdtemp(prefix="k-", dir=Path(self.socket_path).parent))
            manager.transport = "ipc"
            manager.ip = str(self._channels / "c")
            for number, port in enumerate(_PORTS, start=1):
                setattr(manager, port, number)
            manager.connection_file = str(self._channels / "connection.json")
        self._channels.mkdir(
            mode=0o700, parents=True, exist_ok=True
        )  # a zygote that was replaced may have taken it along
        manager.write_connection_file()
        self.connection_info = manager.get_connection_info()
        kwargs["env"] = dict(os.environ)  # unused: a fork has the zygote's
        return await super().pre_launch(cmd=[], **kwargs)

    async def launch_kernel(self, cmd: list[str], **_kwargs: Any) -> KernelConnectionInfo:  # noqa: ANN401, ARG002 - likewise
        """Ask the zygote for a fork."""
        reader, self._writer = await self._connect()
        manager: Any = self.parent
        self._tell(do="start", connection_file=manager.connection_file)
        if not await reader.readline():
            raise ZygoteError("starting a kernel: expected the zygote to fork, got a closed connection; try again")
        self._ended = asyncio.get_running_loop().create_future()
        self._unanswered.clear()
        self._listening = asyncio.create_task(self._listen(reader, self._writer, self._ended))
        return self.connection_info

    async def cleanup(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002 - jupyter_client's signature
        """Close the connection; the zygote kills a kernel that is still there, and removes its home."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._channels is not None and not restart:
            shutil.rmtree(self._channels, ignore_errors=True)
            self._channels = None

    async def _connect(self) -> tuple[StreamReader, StreamWriter]:
        try:
            async with asyncio.timeout(self.launch_timeout_s):
                while True:
                    with contextlib.suppress(ConnectionError, FileNotFoundError):
                        return await asyncio.open_unix_connection(self.socket_path)
                    await asyncio.sleep(_RETRY_S)
        except TimeoutError as error:
            raise ZygoteError(
                f"starting a kernel: expected a zygote at {self.socket_path} within {self.launch_timeout_s:g} s, "
                "got none; read its log"
            ) from error

    def _tell(self, **order: Any) -> None:  # noqa: ANN401 - JSON values
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(json.dumps(order).encode() + b"\n")

    async def _listen(self, reader: StreamReader, writer: StreamWriter, ended: asyncio.Future[int]) -> None:
        """Hear what reached the kernel, and of its end; a zygote that goes away takes its kernels along."""
        status = -int(signal.SIGKILL)
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                news = json.loads(line)
                if news["event"] == "exited":
                    status = news["returncode"]
                    break
                if self._unanswered:
                    self._unanswered.popleft().set_result(None)
        if not ended.done():
            ended.set_result(status)
        writer.close()
