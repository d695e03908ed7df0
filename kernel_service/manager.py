"""Jupyter's kernel manager with readers: it gives each kernel an owner, and shows nobody another's."""

# Jupyter's asynchronous classes override synchronous and untyped ones.
# mypy: disable-error-code="override, no-untyped-call"
import asyncio
import contextlib
import time
from datetime import UTC, datetime
from typing import Any

import zmq
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager, ServerKernelManager
from traitlets import Instance, Unicode, default

from kernel_service.connection import ReaderConnection
from kernel_service.culling import CullLimits, reason_to_cull
from kernel_service.errors import KernelSilent, KernelUnknown
from kernel_service.kernelspecs import KERNEL_NAME
from kernel_service.pool import KernelPool, PoolLimits
from kernel_service.provisioner import ZygoteProvisioner

_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_RECONNECT_MS = 20
_SETTLE_S = 0.01
_ASK_AGAIN_S = 1.0
_ANSWER_TIMEOUT_S = 60.0


class ForkedKernelManager(ServerKernelManager):
    """Manages one kernel that comes from the zygote."""

    async def start_kernel(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - jupyter_server's signature
        """Start the kernel through the zygote; no entry point is needed for that."""
        if self.provisioner is None:
            manager: Any = self.parent
            self.provisioner = ZygoteProvisioner(
                kernel_id=kwargs.get("kernel_id"),
                kernel_spec=self.kernel_spec,
                parent=self,
                socket_path=manager.zygote_socket,
            )
        return await super().start_kernel(*args, **kwargs)

    async def restart_kernel(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - jupyter_server's signature
        """Replace the kernel by a new fork; returns when that one answers."""
        ReaderConnection.hold(self.kernel_id)
        self.execution_state = "starting"
        try:
            await super().restart_kernel(*args, **kwargs)
            self.execution_state = "starting"  # whatever the old kernel still said
            await self.until_it_answers()
        finally:
            await ReaderConnection.let_go(self.kernel_id)

    async def until_it_answers(self) -> None:
        """Run empty cells until their status arrives too, not only the reply: then no output that follows gets lost."""
        shell = self.connect_shell()
        has_answered = asyncio.Event()
        shell.on_recv(lambda _parts: has_answered.set())
        nothing = {"code": "", "silent": True, "store_history": False, "allow_stdin": False}
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                while self.execution_state != "idle":
                    has_answered.clear()
                    self.session.send(shell, "execute_request", content=nothing)
                    with contextlib.suppress(TimeoutError):  # who was asked may be gone, and another in their place
                        await asyncio.wait_for(has_answered.wait(), _ASK_AGAIN_S)
                    await asyncio.sleep(_SETTLE_S)
        except TimeoutError as error:
            raise KernelSilent(
                f"starting a kernel: expected an answer within {_ANSWER_TIMEOUT_S:g} s, got none"
            ) from error
        finally:
            shell.close()


class ReaderKernelManager(AsyncMappingKernelManager):
    """All kernels of the service: the readers' and the spares."""

    zygote_socket = Unicode().tag(config=True)
    pool_limits = Instance(PoolLimits, args=()).tag(config=True)
    cull_limits = Instance(CullLimits, args=()).tag(config=True)

    def __init__(self, **traits: Any) -> None:  # noqa: ANN401 - traits
        super().__init__(**traits)
        # Jupyter's culler calls `cull_kernel_if_idle` at this interval if a time-out is set; the limits are ours.
        self.cull_idle_timeout = max(1, round(self.cull_limits.idle_s))
        self.cull_interval = max(1, round(self.cull_limits.interval_s))
        self.pool = KernelPool(self._start_answering, self.pool_limits)
        self._unwatched_since: dict[str, float] = {}

    @default("context")
    def _context_default(self) -> zmq.Context[Any]:
        context = super()._context_default()
        # A kernel must not fill this process's memory with one message; a restarted kernel is found again at once.
        context.setsockopt(zmq.MAXMSGSIZE, _MAX_MESSAGE_BYTES)
        context.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
        return context

    async def close(self) -> None:
        """Hand out no more kernels, and end those that are there."""
        await self.pool.close()
        ends = (self.shutdown_kernel(kernel_id) for kernel_id in self.list_kernel_ids())
        for outcome in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(outcome, Exception):
                self.log.warning("ending a kernel failed: %s", outcome)

    async def acquire(self, reader: str) -> str:
        """Give a reader a kernel; answers its id."""
        kernel_id = await self.pool.acquire(reader)
        self._kernels[kernel_id].last_activity = datetime.now(UTC)
        self._unwatched_since[kernel_id] = time.monotonic()
        return kernel_id

    def kernel_model(self, kernel_id: str) -> dict[str, Any]:
        """Describe a kernel as Jupyter does, and say how long it may be idle, so that a page can warn in time."""
        limits = {"idle_s": self.cull_limits.idle_s, "abandoned_s": self.cull_limits.abandoned_s}
        return {**super().kernel_model(kernel_id), "limits": limits}

    def require_owner(self, kernel_id: str, reader: str) -> None:
        """Refuse a kernel that is not this reader's, as if it did not exist."""
        if kernel_id not in self or self.pool.owner(kernel_id) != reader:
            raise KernelUnknown(f"kernel {kernel_id[:36]}: expected one of your kernels, got an unknown id")

    async def shutdown_kernel(self, kernel_id: str, now: bool = True, restart: bool = False) -> None:  # noqa: FBT001, FBT002 - jupyter_server's signature
        """End a kernel at once: its home goes with it, so there is nothing that it could still save."""
        await super().shutdown_kernel(kernel_id, now=now, restart=restart)
        ReaderConnection.tell_end(kernel_id)

    async def restart_kernel(self, kernel_id: str, now: bool = True) -> None:  # noqa: FBT001, FBT002 - jupyter_server's signature
        """Replace a kernel by a new fork under the same id."""
        self._check_kernel_id(kernel_id)
        await self._kernels[kernel_id].restart_kernel(now=now)

    def remove_kernel(self, kernel_id: str) -> Any:  # noqa: ANN401 - jupyter_client's signature
        """Forget a kernel, and who owned it."""
        self._unwatched_since.pop(kernel_id, None)
        self.pool.release(kernel_id)
        return super().remove_kernel(kernel_id)

    def notify_connect(self, kernel_id: str) -> None:
        """Note that a page watches the kernel."""
        super().notify_connect(kernel_id)
        self._unwatched_since.pop(kernel_id, None)

    def notify_disconnect(self, kernel_id: str) -> None:
        """Note when the last page stopped watching."""
        super().notify_disconnect(kernel_id)
        if self._kernel_connections.get(kernel_id) == 0:
            self._unwatched_since[kernel_id] = time.monotonic()

    async def cull_kernel_if_idle(self, kernel_id: str) -> None:
        """End a kernel that nobody needs; spares wait as long as it takes."""
        if self.pool.owner(kernel_id) is None:
            return
        kernel = self._kernels[kernel_id]
        since = self._unwatched_since.get(kernel_id)
        reason = reason_to_cull(
            self.cull_limits,
            idle_s=(datetime.now(UTC) - kernel.last_activity).total_seconds(),
            is_busy=kernel.execution_state == "busy",
            unwatched_s=None if since is None else time.monotonic() - since,
        )
        if reason is not None:
            self.log.info("ending kernel %s: %s", kernel_id, reason)
            await self.shutdown_kernel(kernel_id)

    async def _start_answering(self) -> str:
        kernel_id: str = await self.start_kernel(kernel_name=KERNEL_NAME)
        try:
            await self._kernels[kernel_id].until_it_answers()
        except BaseException:
            with contextlib.suppress(Exception):
                await self.shutdown_kernel(kernel_id)
            raise
        return kernel_id
