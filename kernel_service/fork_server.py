"""The fork server: accepts requests, forks kernels, passes signals on to them, and reaps them. It loads nothing.

It speaks lines of JSON over a unix socket, one connection for a kernel. `{"do": "start", "connection_file": …}` is
answered by `{"event": "started", "pid": …}` and later by `{"event": "exited", "returncode": …}`; `{"do": "signal",
"signum": …}` goes to the kernel and what it started, and is then answered by `{"event": "signalled"}`. A kernel whose
connection goes away is killed.
"""

import contextlib
import json
import logging
import os
import selectors
import shutil
import signal
import socket
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernel_service.forked_kernel import KernelRequest

_log = logging.getLogger(__name__)

_MAX_LINE_BYTES = 64 * 1024


@dataclass
class _Customer:
    """One connection, the bytes that make no line yet, and the kernel it asked for."""

    connection: socket.socket
    unread: bytes = b""
    pid: int | None = None

    def tell(self, **event: Any) -> None:  # noqa: ANN401 - JSON values
        # Whoever went away is noticed when the connection is read.
        with contextlib.suppress(OSError):
            self.connection.sendall(json.dumps(event).encode() + b"\n")


@dataclass
class _Child:
    """A running kernel: who asked for it, and the home to remove after it."""

    customer: _Customer
    home: Path


@dataclass
class ForkServer:
    """The loop that accepts requests, forks kernels and reaps them."""

    listener: socket.socket
    homes: Path
    _children: dict[int, _Child] = field(default_factory=dict)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _wakeup: tuple[int, int] = field(default_factory=os.pipe)
    _stopping: bool = False

    def serve(self, lifeline: int) -> KernelRequest | None:
        """Serve until the lifeline closes. In a forked child this returns the kernel that the child shall become."""
        self._watch_signals()
        self._selector.register(lifeline, selectors.EVENT_READ)
        self._selector.register(self._wakeup[0], selectors.EVENT_READ)
        self._selector.register(self.listener, selectors.EVENT_READ)
        while not self._stopping:
            for key, _ in self._selector.select():
                if key.fd == lifeline:
                    self._stopping = os.read(lifeline, 4096) == b""
                elif key.fd == self._wakeup[0]:
                    self._attend_signals()
                elif key.fileobj is self.listener:
                    self._accept()
                else:
                    request = self._read(key.data)
                    if request is not None:
                        return request
        self._end_all()
        return None

    def _watch_signals(self) -> None:
        for end in self._wakeup:
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wakeup[1])
        for signum in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(signum, lambda *_: None)  # the wake-up pipe carries the number
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _attend_signals(self) -> None:
        numbers = os.read(self._wakeup[0], 4096)
        self._stopping = self._stopping or signal.SIGTERM in numbers
        self._reap()

    def _accept(self) -> None:
        connection, _ = self.listener.accept()
        self._selector.register(connection, selectors.EVENT_READ, _Customer(connection))

    def _read(self, customer: _Customer) -> KernelRequest | None:
        try:
            received = customer.connection.recv(_MAX_LINE_BYTES)
        except OSError:
            received = b""
        customer.unread += received
        if not received or len(customer.unread) > _MAX_LINE_BYTES:
            self._dismiss(customer)
            return None
        *lines, customer.unread = customer.unread.split(b"\n")
        for line in lines:
            request = self._obey(customer, json.loads(line))
            if request is not None:
                return request
        return None

    def _obey(self, customer: _Customer, order: dict[str, Any]) -> KernelRequest | None:
        if order["do"] == "start" and customer.pid is None:
            return self._start(customer, Path(order["connection_file"]))
        if order["do"] == "signal" and customer.pid is not None:
            _signal_group(customer.pid, order["signum"])
            customer.tell(event="signalled")
        return None

    def _start(self, customer: _Customer, connection_file: Path) -> KernelRequest | None:
        # A signal meant for the child must not reach it while it still writes to this process's wake-up pipe.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            home = Path(tempfile.mkdtemp(dir=self.homes))
            pid = os.fork()
            if pid == 0:
                self._forget_everything()
                return KernelRequest(connection_file, home)
        except OSError:
            _log.exception("no kernel was started")
            self._dismiss(customer)
            return None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        customer.pid = pid
        self._children[pid] = _Child(customer, home)
        customer.tell(event="started", pid=pid)
        return None

    def _forget_everything(self) -> None:
        """In the child: keep nothing that is the zygote's."""
        signal.set_wakeup_fd(-1)
        for signum in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(signum, signal.SIG_DFL)
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                key.data.connection.close()
        self._selector.close()
        self.listener.close()
        os.close(self._wakeup[0])
        os.close(self._wakeup[1])

    def _dismiss(self, customer: _Customer) -> None:
        self._selector.unregister(customer.connection)
        customer.connection.close()
        if customer.pid in self._children:
            _signal_group(customer.pid, signal.SIGKILL)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self._children.pop(pid, None)
            if child is not None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)  # whatever the kernel started ends with it
                child.customer.tell(event="exited", returncode=os.waitstatus_to_exitcode(status))
                child.customer.pid = None
                shutil.rmtree(child.home, ignore_errors=True)

    def _end_all(self) -> None:
        signal.set_wakeup_fd(-1)
        for pid in self._children:
            _signal_group(pid, signal.SIGKILL)
        for pid, child in self._children.items():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
            shutil.rmtree(child.home, ignore_errors=True)


def _signal_group(pid: int, signum: int) -> None:
    """Signal a kernel and what it started; just after the fork it leads no group yet."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        try:
            os.killpg(pid, signum)
        except ProcessLookupError:
            os.kill(pid, signum)
