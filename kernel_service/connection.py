"""The bridge between one page's websocket and its kernel: it waits out restarts, and says when output is cut."""

import asyncio
import contextlib
from typing import Any

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

_KERNEL_ENDED = 4004  # not 1000 or 1001, at which a page would not ask what happened
_TOO_MUCH_AT_ONCE = 1013
_MOST_HELD = 256


class ReaderConnection(ZMQChannelsWebsocketConnection):
    """Jupyter's connection; what it says about limits is meant for the reader, who cannot change them."""

    # What the page sent while the kernel was being replaced; None while there is nothing to wait for.
    _held: list[Any] | None = None

    @classmethod
    def tell_end(cls, kernel_id: str) -> None:
        """Hang up on every page that watches a kernel that has ended; else it would wait for answers forever."""
        for connection in cls._watching(kernel_id):
            # No status message: Jupyter flushes the kernel's stream for that, which can block on one that nobody reads.
            connection.websocket_handler.close(_KERNEL_ENDED, "the kernel has ended")

    @classmethod
    def hold(cls, kernel_id: str) -> None:
        """Keep back what pages send to a kernel that is being replaced: its output would be lost unseen."""
        for connection in cls._watching(kernel_id):
            connection._held = connection._held or []  # noqa: SLF001 - of the same class

    @classmethod
    async def let_go(cls, kernel_id: str) -> None:
        """Pass on what was kept back, once output of the new kernel arrives at every page."""
        await asyncio.gather(*(each._settle() for each in cls._watching(kernel_id)))  # noqa: SLF001 - of the same class

    @classmethod
    def _watching(cls, kernel_id: str) -> list[Any]:
        return [each for each in cls._open_sockets if each.kernel_id == kernel_id]

    def handle_incoming_message(self, incoming_msg: str) -> None:
        """Pass a message on to the kernel, once there is one."""
        if self._held is None:
            super().handle_incoming_message(incoming_msg)
        elif len(self._held) < _MOST_HELD:
            self._held.append(incoming_msg)
        else:
            self.websocket_handler.close(_TOO_MUCH_AT_ONCE, "too many messages for a kernel that is starting")

    async def _settle(self) -> None:
        if self.channels:  # else the page has left
            with contextlib.suppress(TimeoutError):  # a kernel that is gone again; whoever asks it will be told
                await self.nudge()
        held, self._held = self._held or [], None
        for stream in self.channels.values():
            if not stream.closed():
                stream.on_recv_stream(self.handle_outgoing_message)
        for message in held:
            super().handle_incoming_message(message)

    def write_stderr(self, error_message: str, parent_header: Any) -> None:  # noqa: ANN401, ARG002 - jupyter_server's signature
        """Tell the reader that output is left out."""
        limit_mib = self.iopub_data_rate_limit / 1024**2
        super().write_stderr(  # type: ignore[no-untyped-call] # Jupyter's has no types
            f"showing output: expected at most {limit_mib:g} MiB and {self.iopub_msg_rate_limit:g} messages a second, "
            "got more; some of it is left out here",
            parent_header,
        )
