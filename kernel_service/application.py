"""The web server: the book's pages, its kernels and its extensions from one origin, on this machine only.

It is a Jupyter server that reads nobody's Jupyter configuration, writes nothing to anybody's home, opens no browser and
prints one line: the address, once pages are served and kernels are ready.
"""

import asyncio
import logging
import os
import shutil
import signal
import socket
import tempfile
from pathlib import Path
from typing import Any

from jupyter_server.serverapp import ServerApp
from tornado.httpserver import HTTPServer
from traitlets import Instance
from traitlets.config import Config

from kernel_service.connection import ReaderConnection
from kernel_service.errors import ServiceError, StartupError, complain
from kernel_service.headers import SECURITY_HEADERS
from kernel_service.identity import ReaderAuthorizer, ReaderIdentity
from kernel_service.kernelspecs import KERNEL_NAME, BookKernelSpecs
from kernel_service.manager import ReaderKernelManager
from kernel_service.options import Options
from kernel_service.supervisor import Supervisor
from kernel_service.tokens import Mint, load_secret

_MIB = 1024 * 1024
_MAX_UPLOAD_BYTES = 4 * _MIB
_EXTENSIONS_STOP_S = 10.0

# What a page may send to a kernel: no debugger, no shutdown behind the service's back.
_MESSAGES = [
    "comm_close", "comm_info_request", "comm_msg", "comm_open", "complete_request", "execute_request",
    "history_request", "input_reply", "inspect_request", "interrupt_request", "is_complete_request",
    "kernel_info_request",
]  # fmt: skip


class BookServer(ServerApp):
    """Serves the book until it is told to stop."""

    options: Any = Instance(Options)
    listener: Any = Instance(socket.socket)
    zygote: Any = Instance(Supervisor)
    kernel_manager: Any
    exit_status = 0

    # Nothing of Jupyter's own is served, except what the handlers module names.
    default_services: Any = ()

    def load_config_file(self, *_: Any, **__: Any) -> None:  # noqa: ANN401 - jupyter_core's signature and traitlets'
        """Read no configuration: what a reader set up for their own Jupyter is not for the book."""

    def migrate_config(self) -> None:
        """Touch nobody's old configuration."""

    def init_signal(self) -> None:
        """Stop at Ctrl-C and SIGTERM without asking back."""
        loop: Any = self.io_loop
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.asyncio_loop.add_signal_handler(signum, self._stop_once)

    def init_httpserver(self) -> None:
        """Listen on the port that was taken at the start; there is no second choice."""
        self._http_server = HTTPServer(
            self.web_app, max_body_size=_MAX_UPLOAD_BYTES, max_buffer_size=2 * _MAX_UPLOAD_BYTES
        )
        self._http_server.add_socket(self.listener)

    def start_app(self) -> None:
        """Start the zygote while the loop runs; print the address when kernels are ready."""
        self.log.warning("kernels are unconfined in this edition: only this machine is served (%s)", self.options.ip)
        self.io_loop.add_callback(self._open)

    async def cleanup_extensions(self) -> None:
        """Run the extensions' stop hooks; one that fails or hangs does not keep the service alive."""
        try:
            async with asyncio.timeout(_EXTENSIONS_STOP_S):
                await super().cleanup_extensions()
        except Exception:
            self.log.exception("stopping an extension failed")

    async def cleanup_kernels(self) -> None:
        """End every kernel and the zygote."""
        try:
            await self.kernel_manager.close()
        finally:
            await self.zygote.stop()

    async def _open(self) -> None:
        try:
            await self.zygote.start()
            await self.kernel_manager.pool.open()
        except ServiceError as error:
            self._give_up(error)
            return
        except Exception as error:  # nobody above this callback would end the service
            self.log.debug("cannot start", exc_info=True)
            self._give_up(f"starting: expected a zygote and a kernel, got {type(error).__name__}: {error}")
            return
        host = f"[{self.options.ip}]" if ":" in self.options.ip else self.options.ip
        print(f"Book open at http://{host}:{self.port}/", flush=True)  # noqa: T201 - the one line of output

    def _give_up(self, reason: object) -> None:
        if not self._stopping:
            complain(reason)
            self.exit_status = 1
            self._stop_once()

    def _stop_once(self) -> None:
        if not self._stopping:
            self.log.info("stopping")
            self.stop()


def serve(options: Options, listener: socket.socket) -> int:
    """Serve the book until told to stop; answers the exit status."""
    try:
        options.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        mint = Mint(load_secret(options.state_dir / "reader.secret"))
    except OSError as error:
        raise StartupError(
            f"starting: expected a state directory to write to, got {error}; choose another with --state-dir"
        ) from error
    directory = Path(tempfile.mkdtemp(prefix="tlab-"))
    try:
        server = _assemble(options, listener, mint, directory)
        server.start()
        return int(server.exit_status)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _assemble(options: Options, listener: socket.socket, mint: Mint, directory: Path) -> BookServer:
    zygote = Supervisor(
        directory=directory,
        log_file=options.state_dir / "zygote.log",
        preload=options.preload,
        options=options.zygote,
    )
    server = BookServer.instance(
        options=options,
        listener=listener,
        zygote=zygote,
        ip=options.ip,
        port=listener.getsockname()[1],
        config=_configuration(options, mint, zygote),
        jpserver_extensions=dict.fromkeys(options.extensions, True),
        **_directories(directory),
        **_behaviour(options, zygote),
    )
    logging.getLogger("kernel_service").parent = server.log
    try:
        server.initialize([], find_extensions=False)
    except Exception as error:
        names = ", ".join(options.extensions) or "no extension"
        raise StartupError(
            f"setting up: expected a server with {names}, got {type(error).__name__}: {' '.join(str(error).split())}"
        ) from error
    return server


def _configuration(options: Options, mint: Mint, zygote: Supervisor) -> Config:
    """Settings of the parts that Jupyter makes itself."""
    config = Config()
    config.ReaderIdentity.mint = mint
    config.ReaderKernelManager.zygote_socket = str(zygote.socket)
    config.ReaderKernelManager.pool_limits = options.pool
    config.ReaderKernelManager.cull_limits = options.cull
    config.ReaderKernelManager.default_kernel_name = KERNEL_NAME
    config.ReaderKernelManager.kernel_manager_class = "kernel_service.manager.ForkedKernelManager"
    config.ReaderKernelManager.allowed_message_types = _MESSAGES
    config.ReaderKernelManager.buffer_offline_messages = False  # a page that is gone must not fill the memory here
    config.KernelRestarter.time_to_dead = 0.5
    config.ReaderConnection.iopub_data_rate_limit = 4.0 * _MIB
    config.ReaderConnection.iopub_msg_rate_limit = 500.0
    config.ReaderConnection.rate_limit_window = 3.0
    return config


def _directories(directory: Path) -> dict[str, Any]:
    """Private, temporary places for everything that Jupyter reads or writes, extensions included."""
    places = {name: directory / name for name in ("config_dir", "data_dir", "runtime_dir", "root_dir")}
    for name, place in places.items():
        place.mkdir()
        os.environ[f"JUPYTER_{name.upper()}"] = str(place)
    return {name: str(place) for name, place in places.items()}


def _behaviour(options: Options, zygote: Supervisor) -> dict[str, Any]:
    return {
        "kernel_manager_class": ReaderKernelManager,
        "kernel_websocket_connection_class": ReaderConnection,
        "kernel_spec_manager_class": BookKernelSpecs,
        "identity_provider_class": ReaderIdentity,
        "authorizer_class": ReaderAuthorizer,
        "extra_services": ["kernel_service.handlers"],
        "reraise_server_extension_failures": True,
        "allow_unauthenticated_access": False,
        "allow_remote_access": False,
        "allow_external_kernels": False,
        "open_browser": False,
        "cookie_secret": os.urandom(32),
        "tornado_settings": {
            "site": options.site,
            "zygote": zygote,
            "headers": SECURITY_HEADERS,
            "static_path": None,
            "websocket_max_message_size": _MAX_UPLOAD_BYTES,
        },
    }
