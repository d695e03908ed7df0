"""The bridge between one page's websocket and its kernel, with a word to the reader when it cuts output short."""

from typing import Any

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

_KERNEL_ENDED = 4004  # not 1000 or 1001, at which a page would not ask what happened


class ReaderConnection(ZMQChannelsWebsocketConnection):
    """Jupyter's connection; what it says about limits is meant for the reader, who cannot change them."""

    @classmethod
    def tell_end(cls, kernel_id: str) -> None:
        """Hang up on every page that watches a kernel that has ended; else it would wait for answers forever."""
        for connection in [each for each in cls._open_sockets if each.kernel_id == kernel_id]:
            # No status message: Jupyter flushes the kernel's stream for that, which can block on one that nobody reads.
            connection.websocket_handler.close(_KERNEL_ENDED, "the kernel has ended")

    def write_stderr(self, error_message: str, parent_header: Any) -> None:  # noqa: ANN401, ARG002 - jupyter_server's signature
        """Tell the reader that output is left out."""
        limit_mib = self.iopub_data_rate_limit / 1024**2
        super().write_stderr(  # type: ignore[no-untyped-call] # Jupyter's has no types
            f"showing output: expected at most {limit_mib:g} MiB and {self.iopub_msg_rate_limit:g} messages a second, "
            "got more; some of it is left out here",
            parent_header,
        )
