"""The bridge between one page's websocket and its kernel, with a word to the reader when it cuts output short."""

from typing import Any

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection


class ReaderConnection(ZMQChannelsWebsocketConnection):
    """Jupyter's connection; what it says about limits is meant for the reader, who cannot change them."""

    def write_stderr(self, error_message: str, parent_header: Any) -> None:  # noqa: ANN401, ARG002 - jupyter_server's signature
        """Tell the reader that output is left out."""
        limit_mib = self.iopub_data_rate_limit / 1024**2
        super().write_stderr(  # type: ignore[no-untyped-call] # Jupyter's has no types
            f"showing output: expected at most {limit_mib:g} MiB and {self.iopub_msg_rate_limit:g} messages a second, "
            "got more; some of it is left out here",
            parent_header,
        )
