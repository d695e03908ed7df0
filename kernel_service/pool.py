"""The pool: who owns which kernel, how many there may be, and which spares wait. It starts no process itself."""

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from kernel_service.errors import MustWait, PoolClosed, PoolTimeout, ReaderQuotaExceeded, TooManyRequests
from kernel_service.waiting_line import WaitingLine

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PoolLimits:
    """How many kernels, and how long to wait for one.

    `min_size` spares wait, started and answering; `max_size` kernels run in total, `max_per_reader` for one reader.
    When all are taken, `max_waiting` readers may stand in line.
    """

    min_size: int = 2
    max_size: int = 20
    max_per_reader: int = 3
    max_waiting: int = 100
    timeout_s: float = 30.0
    retry_s: float = 1.0


@dataclass(frozen=True)
class PoolStats:
    """What the pool holds now."""

    owned: int
    spares: int
    starting: int
    waiting: int


class KernelPool:
    """Hands out kernels that are already running, and refills itself in the background.

    `spawn` starts one kernel and answers its id once it executes code; the pool learns of ends through `release`.
    """

    def __init__(self, spawn: Callable[[], Awaitable[str]], limits: PoolLimits) -> None:
        self.limits = limits
        self._spawn = spawn
        self._owners: dict[str, str] = {}
        self._spares: deque[str] = deque()
        self._starting: Counter[str] = Counter()
        self._line = WaitingLine(limits.max_waiting)
        self._refill: asyncio.Task[None] | None = None
        self._is_open = False

    async def open(self) -> None:
        """Start the spares; returns when the first of them answers, so that an open pool is known to work."""
        self._is_open = True
        if self.limits.min_size:
            self._spares.append(await self._start())
        self._refill_soon()

    async def acquire(self, reader: str) -> str:
        """Give a reader a kernel of their own: a spare if one waits, else a new one; or a place in the line.

        A place comes as `MustWait`; the reader then asks again until it is their turn.
        """
        self._admit(reader)
        if self._spares:
            kernel_id = self._spares.popleft()
        else:
            kernel_id = await self._start_for(reader)
        self._owners[kernel_id] = reader
        self._refill_soon()
        return kernel_id

    def give_up(self, reader: str) -> None:
        """Let a reader leave the line."""
        self._line.leave(reader)

    def release(self, kernel_id: str) -> None:
        """Forget a kernel that has ended, whoever had it."""
        owner = self._owners.pop(kernel_id, None)
        if owner is not None:
            self._line.expect_back(owner)
        with contextlib.suppress(ValueError):
            self._spares.remove(kernel_id)
        self._refill_soon()

    def owner(self, kernel_id: str) -> str | None:
        """Name the reader who owns a kernel; None for spares and for unknown ids."""
        return self._owners.get(kernel_id)

    def owned_by(self, reader: str) -> list[str]:
        """List a reader's kernels, oldest first."""
        return [kernel_id for kernel_id, owner in self._owners.items() if owner == reader]

    def is_spare(self, kernel_id: str) -> bool:
        """Whether a kernel waits for its first reader."""
        return kernel_id in self._spares

    def get_stats(self) -> PoolStats:
        """Count what the pool holds."""
        starting = self._starting.total()
        return PoolStats(len(self._owners), len(self._spares), starting, waiting=len(self._line))

    async def close(self) -> None:
        """Hand out and start nothing more. The kernels themselves are the caller's to end."""
        self._is_open = False
        if self._refill is not None:
            self._refill.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._refill

    def _admit(self, reader: str) -> None:
        if not self._is_open:
            raise PoolClosed("starting a kernel: expected an open pool, got one that is not; try again in a moment")
        own, most = len(self.owned_by(reader)) + self._starting[reader], self.limits.max_per_reader
        if own >= most:
            raise ReaderQuotaExceeded(
                f"starting a kernel: expected at most {most} kernels for a reader, got {own} already"
            )
        self._wait_for_room(reader)

    def _wait_for_room(self, reader: str) -> None:
        total, most = len(self._owners) + self._starting.total(), self.limits.max_size
        if self._line.ahead_of(reader) < most - total:
            self._line.leave(reader)
            return
        full = f"starting a kernel: expected at most {most} kernels in this service, got {total} already"
        place = self._line.ask(reader)
        if place is None:
            raise TooManyRequests(f"{full}, and {self.limits.max_waiting} readers wait for the next")
        raise MustWait(f"{full}; number {place.number} of {place.of} in line", place, self._line.retry_s)

    async def _start_for(self, reader: str) -> str:
        self._starting[reader] += 1
        try:
            return await self._start()
        finally:
            self._starting[reader] -= 1

    async def _start(self) -> str:
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                return await self._spawn()
        except TimeoutError as error:
            raise PoolTimeout(
                f"starting a kernel: expected it to answer within {self.limits.timeout_s:g} s, got nothing"
            ) from error

    def _missing(self) -> int:
        room = self.limits.max_size - len(self._owners) - self._starting.total()
        return min(self.limits.min_size, room) - len(self._spares)

    def _refill_soon(self) -> None:
        if self._is_open and self._missing() > 0 and (self._refill is None or self._refill.done()):
            self._refill = asyncio.create_task(self._keep_filled())

    async def _keep_filled(self) -> None:
        while self._missing() > 0:
            try:
                self._spares.append(await self._start())
            except Exception as error:  # noqa: BLE001 - whatever stopped one start, the next may succeed
                _log.warning("starting a spare kernel failed (%s); trying again in %g s", error, self.limits.retry_s)
                await asyncio.sleep(self.limits.retry_s)
