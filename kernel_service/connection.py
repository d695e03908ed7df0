"""The bridge between one page's websocket and its kernel, with a word to the reader when it cuts output short."""

from typing import Any

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection


class ReaderConnection(ZMQChannelsWebsocketConnection):
    """Jupyter's connection; what it says about limits is meant for the reader, who cannot change them."""

    @classmethod
    def tell_end(cls, kernel_id: str) -> None:
        """Tell every page that watches a kernel that it has ended; else a page would wait for its answers forever."""
        for connection in [each for each in cls._open_sockets if each.kernel_id == kernel_id]:
            connection.on_restart_failed()  # sends the status `dead`
            connection.websocket_handler.close()

    def write_stderr(self, error_message: str, parent_header: Any) -> None:  # noqa: ANN401, ARG002 - jupyter_server's signature
        """Tell the reader that output is left out."""
        limit_mib = self.iopub_data_rate_limit / 1024**2
        super().write_stderr(  # type: ignore[no-untyped-call] # Jupyter's has no types
            f"showing output: expected at most {limit_mib:g} MiB and {self.iopub_msg_rate_limit:g} messages a second, "
            "got more; some of it is left out here",
            parent_header,
        )
