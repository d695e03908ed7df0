"""The chat as a jupyter-server extension: `POST /api/chat`, `GET /api/chat/health`. HTTP is here and nowhere else."""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import os
from contextlib import aclosing
from http import HTTPStatus
from http.client import responses
from typing import TYPE_CHECKING, Any

from jupyter_server.auth.decorator import allow_unauthenticated, authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web
from tornado.iostream import StreamClosedError

from kb.chat import Chat
from kb.desk import Desk, RateLimit
from kb.errors import KbError, QuestionError
from kb.library import Library
from kb.model import ChatModel
from kb.question import MAX_BODY_BYTES, read_question
from kb.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from kb.chat import Event

_log = logging.getLogger("kb")


def _load_jupyter_server_extension(server: Any) -> None:  # noqa: ANN401 - jupyter_server ships no types
    """Register the handlers and open the library in the background; the server does not wait for it."""
    settings = Settings.from_environment(os.environ)
    desk = Desk(Library(settings))
    atexit.register(desk.close)
    model = ChatModel(settings.model) if settings.model else None
    parts = {"chat": Chat(desk.find, model), "rate_limit": RateLimit()}
    base = server.web_app.settings["base_url"]
    server.web_app.add_handlers(
        ".*$",
        [
            (url_path_join(base, "/api/chat"), ChatHandler, parts),
            (url_path_join(base, "/api/chat/health"), HealthHandler, {"desk": desk}),
        ],
    )


class _JsonErrors(APIHandler):
    """Errors in the shape that all of the book's services share."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:  # noqa: ANN401 - tornado's signature
        error = kwargs.get("exc_info", (None, None, None))[1]
        if not isinstance(error, KbError):
            error = QuestionError(
                f"{self.request.method} {self.request.path[:80]}: {responses.get(status_code, 'error').lower()}",
                _HINTS.get(status_code, "try again; if it stays, see the server's log"),
                code=_CODES.get(status_code, "chat-failed"),
                status=status_code,
            )
        self._answer_error(error)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:  # noqa: ANN401 - tornado's signature
        if not isinstance(value, KbError):
            super().log_exception(typ, value, tb)

    def _answer_error(self, error: KbError) -> None:
        self.set_status(error.status)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(error.payload(), ensure_ascii=False))


_CODES: dict[int, str] = {
    HTTPStatus.FORBIDDEN: "reader-unknown",
    HTTPStatus.NOT_FOUND: "not-found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method-not-allowed",
}
_HINTS: dict[int, str] = {
    HTTPStatus.FORBIDDEN: "get a reader token from POST /api/reader and send it as `Authorization: token …`",
    HTTPStatus.NOT_FOUND: "ask from a page of this book: other sites' pages are answered like this",
    HTTPStatus.METHOD_NOT_ALLOWED: "send questions by POST",
}


@web.stream_request_body
class ChatHandler(_JsonErrors):
    """Takes a question and streams the answer as server-sent events; a reader who leaves stops the work."""

    auth_resource = "chat"

    def initialize(self, chat: Chat, rate_limit: RateLimit) -> None:
        """Take the parts that all requests share."""
        self._chat = chat
        self._rate_limit = rate_limit
        self._body = bytearray()
        self._too_long = False
        self._work: asyncio.Task[None] | None = None

    def data_received(self, chunk: bytes) -> None:
        """Collect the body up to its limit; what exceeds it is not even kept."""
        self._too_long = self._too_long or len(self._body) + len(chunk) > MAX_BODY_BYTES
        if not self._too_long:
            self._body += chunk

    @web.authenticated
    @authorized("execute")  # type: ignore[untyped-decorator]  # jupyter_server ships no types
    async def post(self) -> None:
        """Answer a question."""
        if self._too_long:
            raise QuestionError(
                f"reading the question: expected at most {MAX_BODY_BYTES} bytes, got more",
                "shorten the question or the history",
                code="question-too-long",
                status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            )
        question = read_question(bytes(self._body))
        self._rate_limit.admit(str(getattr(self.current_user, "username", self.current_user)))
        async with aclosing(self._chat.answer(question)) as events:
            self._work = asyncio.ensure_future(self._stream(events))
            try:
                await self._work
            except asyncio.CancelledError:
                _log.debug("a reader left before the end of an answer")

    def on_connection_close(self) -> None:
        """Stop searching, and the language model with it."""
        super().on_connection_close()
        if self._work:
            self._work.cancel()

    async def _stream(self, events: AsyncGenerator[Event]) -> None:
        try:
            async for event in events:
                if not self._headers_written:
                    self.set_header("Content-Type", "text/event-stream; charset=utf-8")
                    self.set_header("Cache-Control", "no-store")
                    self.set_header("X-Accel-Buffering", "no")
                await self._send(event.name, event.data)
        except StreamClosedError:
            return
        except Exception as error:
            # Before the first byte an error is an HTTP error; after it, an event.
            if not self._headers_written:
                raise
            _log.exception("an answer broke off")
            failed = QuestionError("writing the answer: it broke off", "ask again", code="chat-failed", status=500)
            await self._send("error", (error if isinstance(error, KbError) else failed).payload())
        self.finish(set_content_type="text/event-stream; charset=utf-8")

    async def _send(self, name: str, data: object) -> None:
        self.write(f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n")
        await self.flush()


class HealthHandler(_JsonErrors):
    """Says whether the chat can answer; open to monitors, and tells nothing else."""

    _track_activity = False

    def initialize(self, desk: Desk) -> None:
        """Take the desk that knows."""
        self._desk = desk

    @allow_unauthenticated
    async def get(self) -> None:
        """Answer `{"status": "ok" | "starting" | "down"}`."""
        self.finish(json.dumps({"status": self._desk.status}))
