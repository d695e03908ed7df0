"""The pool and the culling: pure rules, tested without a process."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from kernel_service.culling import CullLimits, reason_to_cull
from kernel_service.errors import MustWait, PoolClosed, PoolTimeout, ReaderQuotaExceeded, TooManyRequests
from kernel_service.pool import KernelPool, PoolLimits
from kernel_service.waiting_line import Place, WaitingLine


class Nursery:
    """Names kernels k1, k2, … after `delay_s`; fails while `is_broken`."""

    def __init__(self, *, delay_s: float = 0.0) -> None:
        self.started = 0
        self.delay_s = delay_s
        self.is_broken = False

    async def spawn(self) -> str:
        """Start a kernel, as far as the pool can tell."""
        await asyncio.sleep(self.delay_s)
        if self.is_broken:
            raise RuntimeError("no fork")
        self.started += 1
        return f"k{self.started}"


def pooled(
    scene: Callable[[KernelPool, Nursery], Awaitable[None]], nursery: Nursery | None = None, **limits: float
) -> None:
    """Play a scene with an open pool."""

    async def play() -> None:
        cast = nursery or Nursery()
        pool = KernelPool(cast.spawn, PoolLimits(**{"retry_s": 0.01, **limits}))  # type: ignore[arg-type]
        await pool.open()
        await asyncio.sleep(0.01)
        try:
            await scene(pool, cast)
        finally:
            await pool.close()

    asyncio.run(play())


def test_an_open_pool_holds_its_spares() -> None:
    async def scene(pool: KernelPool, _nursery: Nursery) -> None:
        assert pool.get_stats().spares == 2

    pooled(scene, min_size=2)


def test_a_reader_gets_a_spare_and_the_pool_refills() -> None:
    async def scene(pool: KernelPool, _nursery: Nursery) -> None:
        assert await pool.acquire("ada") == "k1"
        assert pool.owner("k1") == "ada"
        await asyncio.sleep(0.01)
        assert pool.get_stats().spares == 2

    pooled(scene, min_size=2)


def test_without_a_spare_a_kernel_is_started() -> None:
    async def scene(pool: KernelPool, nursery: Nursery) -> None:
        assert await pool.acquire("ada") == "k1"
        assert nursery.started == 1

    pooled(scene, min_size=0)


def test_a_reader_has_at_most_their_share() -> None:
    async def scene(pool: KernelPool, _nursery: Nursery) -> None:
        await pool.acquire("ada")
        await pool.acquire("ada")
        with pytest.raises(ReaderQuotaExceeded, match="expected at most 2 kernels for a reader, got 2 already"):
            await pool.acquire("ada")
        await pool.acquire("bob")

    pooled(scene, min_size=0, max_per_reader=2)


def test_kernels_that_are_still_starting_count() -> None:
    async def scene(pool: KernelPool, _nursery: Nursery) -> None:
        results = await asyncio.gather(*(pool.acquire("ada") for _ in range(5)), return_exceptions=True)
        assert sum(isinstance(result, str) for result in results) == 2

    pooled(scene, Nursery(delay_s=0.02), min_size=0, max_per_reader=2)


def test_fifty_readers_share_what_the_service_may_run() -> None:
    async def scene(pool: KernelPool, _nursery: Nursery) -> None:
        results = await asyncio.gather(*(pool.acquire(f"r{n}") for n in range(50)), return_exceptions=True)
        assert sum(isinstance(result, str) for result in results) == 5
        places = [result.place for result in results if isinstance(result, MustWait)]
        assert places == [Place(number, number) for number in range(1, 11)]
        refused = [str(result) for result in results if type(result) is TooManyRequests]
        assert len(refused) == 35
        assert refused[0].endswith(
            "expected at most 5 kernels in this service, got 5 already, and 10 readers wait for the next"
        )
        assert (pool.get_stats().spares, pool.get_stats().waiting) == (0, 10)

    pooled(scene, Nursery(delay_s=0.001), min_size=2, max_size=5, max_waiting=10)


def test_who_came_first_is_served_first() -> None:
    async def scene(pool: KernelPool, _nursery: Nursery) -> None:
        await pool.acquire("ada")
        for number, reader in enumerate(["bob", "eve", "dan"], start=1):
            with pytest.raises(MustWait, match=f"number {number} of {number} in line"):
                await pool.acquire(reader)
        pool.limits = replace(pool.limits, max_size=2)
        for reader, number in (("zoe", 4), ("eve", 2)):  # one kernel is free, and it is bob's
            with pytest.raises(MustWait, match=f"number {number} of 4 in line"):
                await pool.acquire(reader)
        await pool.acquire("bob")
        with pytest.raises(MustWait, match="number 1 of 3 in line"):
            await pool.acquire("eve")
        pool.give_up("eve")
        with pytest.raises(MustWait, match="number 1 of 2 in line"):
            await pool.acquire("dan")

    pooled(scene, min_size=0, max_size=1)


def test_a_reader_who_starts_anew_does_not_stand_in_line_for_it() -> None:
    clock = [0.0]
    line = WaitingLine(5, retry_s=2, now=lambda: clock[0])
    line.expect_back("nobody waits, so there is no line")
    assert line.ask("bob") == Place(1, 1)
    line.expect_back("ada")
    assert (line.ahead_of("ada"), line.ahead_of("bob")) == (0, 1)
    clock[0] = 2.1
    assert line.ask("bob") == Place(1, 1)


def test_a_page_that_sleeps_is_passed_over_and_keeps_its_place() -> None:
    clock = [0.0]
    line = WaitingLine(5, retry_s=2, memory_s=90, now=lambda: clock[0])
    assert [line.ask(reader) for reader in ("ada", "bob")] == [Place(1, 1), Place(2, 2)]
    clock[0] = 7.0
    assert line.ask("bob") == Place(1, 1)
    assert line.ask("ada") == Place(1, 2)
    assert line.ask("bob") == Place(2, 2)
    clock[0] = 98.0
    assert line.ask("bob") == Place(1, 1)


def test_a_line_has_an_end() -> None:
    line = WaitingLine(1)
    assert line.ask("ada") == Place(1, 1)
    assert line.ask("bob") is None
    assert line.ask("ada") == Place(1, 1)
    line.leave("ada")
    line.leave("nobody")
    assert line.ask("bob") == Place(1, 1)


def test_a_kernel_that_ended_makes_room() -> None:
    async def scene(pool: KernelPool, _nursery: Nursery) -> None:
        first = await pool.acquire("ada")
        with pytest.raises(TooManyRequests, match="expected at most 1 kernels in this service, got 1 already"):
            await pool.acquire("bob")
        pool.release(first)
        assert pool.owner(first) is None
        await pool.acquire("bob")

    pooled(scene, min_size=0, max_size=1, max_waiting=0)


def test_a_spare_that_died_is_replaced() -> None:
    async def scene(pool: KernelPool, nursery: Nursery) -> None:
        pool.release("k1")
        await asyncio.sleep(0.01)
        assert (pool.get_stats().spares, nursery.started) == (2, 3)

    pooled(scene, min_size=2)


def test_a_kernel_that_does_not_start_in_time_is_reported() -> None:
    async def scene(pool: KernelPool, _nursery: Nursery) -> None:
        with pytest.raises(PoolTimeout, match=r"expected it to answer within 0\.01 s"):
            await pool.acquire("ada")
        assert pool.get_stats().starting == 0

    pooled(scene, Nursery(delay_s=10), min_size=0, timeout_s=0.01)


def test_spares_are_tried_again_after_a_failure() -> None:
    async def scene(pool: KernelPool, nursery: Nursery) -> None:
        nursery.is_broken = True
        await pool.acquire("ada")
        await asyncio.sleep(0.02)
        assert pool.get_stats().spares == 0
        nursery.is_broken = False
        await asyncio.sleep(0.05)
        assert pool.get_stats().spares == 1

    pooled(scene, min_size=1)


def test_a_closed_pool_hands_out_nothing() -> None:
    async def scene(pool: KernelPool, _nursery: Nursery) -> None:
        await pool.close()
        with pytest.raises(PoolClosed, match="expected an open pool"):
            await pool.acquire("ada")

    pooled(scene)


Facts = dict[str, Any]


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"idle_s": 10, "is_busy": False, "unwatched_s": None}, None),
        ({"idle_s": 1801, "is_busy": False, "unwatched_s": None}, "nothing was run for 1801 s"),
        ({"idle_s": 1801, "is_busy": True, "unwatched_s": None}, None),
        ({"idle_s": 10, "is_busy": True, "unwatched_s": 301}, "no page has been open for 301 s"),
        ({"idle_s": 10, "is_busy": False, "unwatched_s": 299}, None),
    ],
)
def test_kernels_are_culled_when_idle_or_abandoned(facts: Facts, reason: str | None) -> None:
    assert reason_to_cull(CullLimits(idle_s=1800, abandoned_s=300), **facts) == reason
