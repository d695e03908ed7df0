"""A running service and its readers, who talk to it as a page would."""

import json
import signal
import struct
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import psutil
import websocket

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = Path(__file__).parent / "samples"
PATIENCE_S = 20.0
PROTOCOL = "v1.kernel.websocket.jupyter.org"


@dataclass
class Answer:
    """An HTTP response, errors included."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON
        """The body, parsed."""
        return json.loads(self.body)


@dataclass
class Service:
    """A running `python -m kernel_service`."""

    process: subprocess.Popen[str]
    address: str
    log: Path

    @property
    def host(self) -> str:
        """Host and port."""
        return self.address.removeprefix("http://")

    def ask(self, method: str, path: str, *, body: object = None, **headers: str) -> Answer:
        """Send a request; underscores in header names stand for hyphens."""
        data = None if body is None else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.address + path, data=data, headers=names, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
                return Answer(reply.status, reply.headers, reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def reader(self) -> "Reader":
        """Be a new reader."""
        return Reader(self, self.ask("POST", "/api/reader").json["token"])

    def processes(self) -> list[psutil.Process]:
        """Everything that the service started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def zygote(self) -> psutil.Process:
        """The process that kernels are forked from."""
        return psutil.Process(self.process.pid).children()[0]

    def stop(self, signum: int = signal.SIGINT) -> int:
        """End the service; answers its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signum)
        return self.process.wait(timeout=PATIENCE_S)


@dataclass
class Reader:
    """One reader with their token."""

    service: Service
    token: str
    kernels: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, *, body: object = None, **headers: str) -> Answer:
        """Send a request with the token."""
        return self.service.ask(method, path, body=body, Authorization=f"token {self.token}", **headers)

    def start(self) -> str:
        """Get a kernel; answers its id."""
        answer = self.ask("POST", "/api/kernels", body={"name": "tlab"})
        assert answer.status == 201, answer.json
        self.kernels.append(answer.json["id"])
        return self.kernels[-1]

    def connect(self, kernel_id: str, **options: str) -> "Channels":
        """Open the websocket to a kernel."""
        return Channels(self.service.host, kernel_id, self.token, **options)

    def leave(self) -> None:
        """Give the kernels back."""
        for kernel_id in self.kernels:
            self.ask("DELETE", f"/api/kernels/{kernel_id}")


class Channels:
    """The websocket to one kernel, in the framing that browsers use."""

    def __init__(self, host: str, kernel_id: str, token: str, **options: str) -> None:
        address = f"ws://{host}/api/kernels/{kernel_id}/channels?session_id={uuid.uuid4().hex}&token={token}"
        self.socket = websocket.create_connection(address, timeout=PATIENCE_S, subprotocols=[PROTOCOL], **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, kind: str, content: dict[str, Any], *, channel: str = "shell") -> str:
        """Send a message; answers its id."""
        name = uuid.uuid4().hex
        header = {"msg_id": name, "msg_type": kind, "session": "s", "username": "", "version": "5.4", "date": ""}
        parts = [channel.encode(), *(json.dumps(part).encode() for part in (header, {}, {}, content))]
        offsets = [8 * (2 + len(parts))]
        for part in parts:
            offsets.append(offsets[-1] + len(part))
        self.socket.send_binary(struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets) + b"".join(parts))
        return name

    def receive(self) -> dict[str, Any]:
        """Wait for the next message."""
        frame = self._frame()
        (count,) = struct.unpack_from("<Q", frame)
        offsets = struct.unpack_from(f"<{count}Q", frame, 8)
        parts = [frame[start:end] for start, end in pairwise(offsets)]
        header, parent, content = (json.loads(parts[index]) for index in (1, 2, 4))
        return {"channel": parts[0].decode(), "type": header["msg_type"], "parent": parent, "content": content}

    def _frame(self) -> bytes:
        # The socket's own patience begins anew with every ping of the server, so that it would never end.
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            kind, frame = self.socket.recv_data(control_frame=True)
            if kind == websocket.ABNF.OPCODE_CLOSE:
                self.socket.shutdown()
                raise websocket.WebSocketConnectionClosedException("the service has hung up")
            if kind == websocket.ABNF.OPCODE_BINARY:
                return bytes(frame)
        raise AssertionError("no message came")

    def until(self, is_wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Read until the wanted message comes."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            message = self.receive()
            if is_wanted(message):
                return message
        raise AssertionError("the awaited message did not come")

    def until_status(self, state: str) -> None:
        """Read until the kernel reports a state."""
        self.until(lambda message: message["type"] == "status" and message["content"]["execution_state"] == state)

    def run(self, code: str) -> str:
        """Run a cell; answers what it printed, or the name of its error."""
        return self.printed_by(self.send_cell(code))

    def send_cell(self, code: str) -> str:
        """Send a cell without waiting for it; answers the message's id."""
        return self.send("execute_request", {"code": code, "silent": False, "allow_stdin": False})

    def printed_by(self, name: str) -> str:
        """Wait for the end of a cell that was sent; answers what it printed, or the name of its error."""
        printed, missing = "", {"execute_reply", "idle"}
        while missing:
            message = self.receive()
            if message["parent"].get("msg_id") != name:
                continue
            content = message["content"]
            printed += content.get("text", "") if message["type"] == "stream" else ""
            printed += content["ename"] if message["type"] == "error" else ""
            missing -= {message["type"], content.get("execution_state")}
        return printed.strip()
