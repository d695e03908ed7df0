"""Every address that the service answers; whatever is not listed here is a page of the book, or nothing.

Jupyter's handlers do the work for kernels and their websockets. The catch-all at the end keeps all others out of reach.
"""

# Jupyter's asynchronous classes override synchronous and untyped ones.
# mypy: disable-error-code="override, no-untyped-call"
import json
import math
from dataclasses import asdict
from typing import Any

from jupyter_server.auth.decorator import allow_unauthenticated, authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.services.kernels import handlers as jupyter
from jupyter_server.services.kernels.websocket import KernelWebsocketHandler
from tornado.web import HTTPError, authenticated

from kernel_service.errors import BadRequest, CrossOrigin, MustWait
from kernel_service.kernelspecs import KERNEL_NAME
from kernel_service.manager import ReaderKernelManager
from kernel_service.replies import CommonReplies
from kernel_service.static_site import SiteHandler
from kernel_service.tokens import new_reader

_PING_MS = 20_000


class ReaderHandler(CommonReplies, APIHandler):
    """`POST /api/reader`: a token for whoever reads this book here, the same reader if they show a valid one."""

    def check_xsrf_cookie(self) -> None:
        """Refuse other sites by their Origin; there is no cookie that they could abuse."""
        if not self.check_origin():
            origin = self.request.headers.get("Origin", "")[:80]
            raise CrossOrigin(f"minting a token: expected a page of the book to ask, got {origin!r}")

    @allow_unauthenticated
    def post(self) -> None:
        """Mint a token."""
        mint = self.settings["identity_provider"].mint
        reader = self.current_user.username if self.current_user else new_reader()
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps({"token": mint.mint(reader), "reader": reader, "expires_s": mint.lifetime_s}))


class KernelsHandler(CommonReplies, jupyter.KernelsAPIHandler):
    """`/api/kernels`: the reader's kernels, and a new one."""

    kernel_manager: ReaderKernelManager

    @authenticated
    @authorized
    async def get(self) -> None:
        """List the reader's own kernels."""
        own = self.kernel_manager.pool.owned_by(self.current_user.username)
        await self._reply([self.kernel_manager.kernel_model(kernel_id) for kernel_id in own])

    @authenticated
    @authorized
    async def post(self) -> None:
        """Give the reader a kernel, whose id is chosen here and never by the client, or a place in the line (202)."""
        body = self.get_json_body()
        name = body.get("name", KERNEL_NAME) if isinstance(body, dict) else body or KERNEL_NAME
        if name != KERNEL_NAME:
            raise BadRequest(f"starting a kernel: expected the name {KERNEL_NAME!r}, got {str(name)[:80]!r}")
        try:
            kernel_id = await self.kernel_manager.acquire(self.current_user.username)
        except MustWait as wait:
            self.set_status(202)
            self.set_header("Retry-After", str(math.ceil(wait.retry_s)))
            return await self._reply({"waiting": asdict(wait.place), "retry_s": wait.retry_s})
        self.set_status(201)
        self.set_header("Location", f"/api/kernels/{kernel_id}")
        return await self._reply(self.kernel_manager.kernel_model(kernel_id))

    async def _reply(self, answer: Any) -> None:  # noqa: ANN401 - JSON
        await self.finish(json.dumps(answer))


class KernelHandler(CommonReplies, jupyter.KernelHandler):
    """`/api/kernels/<id>`: one kernel, to its reader."""


class KernelActionHandler(CommonReplies, jupyter.KernelActionHandler):
    """`/api/kernels/<id>/interrupt` and `/restart`."""


class WaitingHandler(CommonReplies, APIHandler):
    """`/api/waiting`: the reader's place in the line for a kernel, which `POST /api/kernels` gave them."""

    auth_resource = "kernels"

    @authenticated
    @authorized
    async def delete(self) -> None:
        """Leave the line."""
        self.settings["kernel_manager"].pool.give_up(self.current_user.username)
        self.set_status(204)
        await self.finish()


class ChannelsHandler(CommonReplies, KernelWebsocketHandler):
    """`/api/kernels/<id>/channels`: the websocket; a page that answers no ping is gone."""

    @property
    def ping_interval(self) -> int:
        """Milliseconds between pings."""
        return _PING_MS

    @property
    def ping_timeout(self) -> int:
        """Milliseconds without an answer until the connection counts as lost."""
        # Tornado asks before there is a connection, and warns of more than the interval; Jupyter's pinger asks later.
        return _PING_MS if self.ws_connection is None else 3 * _PING_MS


class HealthHandler(CommonReplies, APIHandler):
    """`/healthz`: whether kernels can be had."""

    @allow_unauthenticated
    def get(self) -> None:
        """Report the zygote and the pool."""
        stats = self.settings["kernel_manager"].pool.get_stats()
        status = "ok" if self.settings["zygote"].is_ready else "degraded"
        counts = {"kernels": stats.owned, "spares": stats.spares, "waiting": stats.waiting}
        self.finish(json.dumps({"status": status, **counts}))


class ClosedHandler(CommonReplies, APIHandler):
    """Jupyter's other services: not here."""

    async def prepare(self) -> None:
        """Answer 404, whoever asks and however."""
        raise HTTPError(404, "there is no such service")


_KERNEL = r"/api/kernels/(?P<kernel_id>\w+-\w+-\w+-\w+-\w+)"
_CLOSED = "api|custom|edit|files|kernelspecs|lab|login|logout|metrics|nbconvert|nbextensions|terminals|tree|view"

default_handlers = [
    (r"/healthz", HealthHandler),
    (r"/api/reader", ReaderHandler),
    (r"/api/kernels", KernelsHandler),
    (r"/api/waiting", WaitingHandler),
    (_KERNEL, KernelHandler),
    (rf"{_KERNEL}/(?P<action>restart|interrupt)", KernelActionHandler),
    (rf"{_KERNEL}/channels", ChannelsHandler),
    (rf"/(?:{_CLOSED})(?:/.*)?", ClosedHandler),
    (r"/(.*)", SiteHandler),
]
