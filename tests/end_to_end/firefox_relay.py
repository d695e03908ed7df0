"""A program that starts Firefox and stands between it and Playwright, to answer the one command it does not know.

Playwright can drive an unchanged Firefox by WebDriver BiDi, but sets the colour scheme of every new window, and gives
up where Firefox (153) knows no `emulation.setMediaFeaturesOverride`. The relay passes everything on and says "done"
instead of Firefox's "unknown command" to that; a Firefox that knows it is not disturbed. A colour scheme is chosen by a
preference instead (`firefox.py`).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketClientConnection, WebSocketHandler, websocket_connect

_UNKNOWN_TO_FIREFOX = "emulation.setMediaFeaturesOverride"
_LISTENING = re.compile(r"WebDriver BiDi listening on (ws://\S+)")
_LARGEST_MESSAGE = 256 << 20


class _Relay(WebSocketHandler):
    """One connection of Playwright's, and the one to Firefox that it stands for."""

    def initialize(self, target: str) -> None:
        self._target = target
        self._spared: set[int] = set()

    def check_origin(self, origin: str) -> bool:
        return not origin

    async def open(self, *_: str) -> None:
        self._firefox: WebSocketClientConnection = await websocket_connect(
            self._target + "/session", max_message_size=_LARGEST_MESSAGE
        )
        self._back = asyncio.create_task(self._pass_back())

    async def on_message(self, message: str | bytes) -> None:
        if _UNKNOWN_TO_FIREFOX in str(message):
            command = json.loads(message)
            if command.get("method") == _UNKNOWN_TO_FIREFOX:
                self._spared.add(command["id"])
        await self._firefox.write_message(message)

    def on_close(self) -> None:
        self._firefox.close()

    async def _pass_back(self) -> None:
        while (message := await self._firefox.read_message()) is not None:
            answer = str(message)
            if self._spared and '"unknown command"' in answer:
                answered = json.loads(answer).get("id")
                if answered in self._spared:
                    self._spared.remove(answered)
                    answer = json.dumps({"type": "success", "id": answered, "result": {}})
            await self.write_message(answer)
        self.close()


async def _main(firefox: str, arguments: list[str]) -> int:
    process = await asyncio.create_subprocess_exec(firefox, *arguments, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    async for line in process.stderr:
        text = line.decode(errors="replace")
        found = _LISTENING.search(text)
        if found:
            text = text.replace(found[1], f"ws://127.0.0.1:{_serve(found[1])}")
        sys.stderr.write(text)
        sys.stderr.flush()
    return await process.wait()


def _serve(target: str) -> int:
    relay = Application([(r"/.*", _Relay, {"target": target})], websocket_max_message_size=_LARGEST_MESSAGE)
    (listener,) = bind_sockets(0, "127.0.0.1")
    HTTPServer(relay).add_socket(listener)
    port: int = listener.getsockname()[1]
    return port


if __name__ == "__main__":
    sys.exit(asyncio.run(_main(os.environ["FIREFOX"], sys.argv[1:])))
