"""Where readers queue: is the library open, whose turn is it, who asks too often. Async, and free of HTTP.

The library is opened in the background, so a server comes up at once; when the database is lost, the desk has it
opened again, once for all who wait.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from kb.errors import KbError, QuestionError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from kb.library import Library
    from kb.question import Question
    from kb.retrieval import Retrieval

__all__ = ["Desk", "RateLimit"]

_log = logging.getLogger("kb")

_WORKERS = 4
_MAX_WAITING = 100
# A start with a fresh index takes some ten seconds; a reader waits a part of that before they are asked to come back.
_READY_TIMEOUT_S = 8.0
_REMEMBERED_READERS = 10_000


class RateLimit:
    """At most so many questions of one reader within a window of time.

    Args:
        most: questions within the window.
        window_s: its length.
        clock: gives the time in seconds.

    """

    def __init__(self, most: int = 20, window_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._window_s = window_s
        self._clock = clock
        self._asked: OrderedDict[str, deque[float]] = OrderedDict()

    def admit(self, reader: str) -> None:
        """Count a question.

        Raises:
            QuestionError: (``too-many-questions``) when the reader has to wait, saying how long.

        """
        now = self._clock()
        times = self._asked.setdefault(reader, deque())
        self._asked.move_to_end(reader)
        while len(self._asked) > _REMEMBERED_READERS:
            self._asked.popitem(last=False)
        while times and times[0] <= now - self._window_s:
            times.popleft()
        if len(times) >= self._most:
            wait_s = max(1, round(times[0] + self._window_s - now))
            raise QuestionError(
                f"asking the chat: expected at most {self._most} questions in {self._window_s:.0f} s, got one more",
                f"ask again in {wait_s} s",
                code="too-many-questions",
                status=429,
            )
        times.append(now)


class Desk:
    """Lends the library to the event loop: blocking work runs in a few threads, openings in one of their own.

    Args:
        library: what is searched.
        ready_s: how long a question waits for an opening.

    """

    def __init__(self, library: Library, *, ready_s: float = _READY_TIMEOUT_S) -> None:
        self._library = library
        self._ready_s = ready_s
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="kb")
        self._waiting = 0
        self._opening = self._open()

    @property
    def status(self) -> str:
        """`ok`, `starting` or `down`."""
        if not self._opening.done():
            return "starting"
        return "down" if self._opening.exception() else "ok"

    async def find(self, question: Question) -> Retrieval:
        """Search, waiting for the library while it opens, and once more if the database went away in between.

        Raises:
            KbError: with status 503 when it does not open in time, or too many readers wait.

        """
        if self._waiting >= _MAX_WAITING:
            raise QuestionError(
                f"asking the chat: expected at most {_MAX_WAITING} readers at once, got one more",
                "ask again in a moment",
                code="chat-busy",
                status=503,
            )
        self._waiting += 1
        try:
            await self._ready()
            try:
                return await self._search(question)
            except StoreUnavailable as lost:
                _log.warning("the chat lost its database: %s", lost)
                self._reopen()
                await self._ready()
                return await self._search(question)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Stop the database; questions in progress end with an error."""
        self._workers.shutdown(wait=False, cancel_futures=True)
        self._library.close()

    async def _search(self, question: Question) -> Retrieval:
        return await asyncio.get_running_loop().run_in_executor(self._workers, self._library.find, question)

    async def _ready(self) -> None:
        if self._opening.done() and self._opening.exception():
            self._reopen()
        try:
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._opening)), self._ready_s)
        except TimeoutError:
            raise StoreUnavailable(
                f"asking the chat: expected it to be ready within {self._ready_s:.0f} s, got a chat still starting",
                "ask again in a few seconds",
            ) from None

    def _reopen(self) -> None:
        """Open again unless that is already under way."""
        if self._opening.done():
            self._opening = self._open()

    def _open(self) -> Future[None]:
        """Open in a daemon thread, so that a server which stops need not wait for an index."""
        opening: Future[None] = Future()

        def work() -> None:
            try:
                change = self._library.open()
                self._library.warm()
            except KbError as error:
                _log.error("the chat cannot answer: %s", error)
                opening.set_exception(error)
            except BaseException as error:  # noqa: BLE001 - whoever waits gets it, whatever it is
                opening.set_exception(error)
            else:
                _log.info("the chat is ready: %d passages new, %d kept", change.added, change.kept)
                opening.set_result(None)

        threading.Thread(target=work, name="kb-open", daemon=True).start()
        return opening
