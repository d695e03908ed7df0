"""The pool and the culling: pure rules, tested without a process."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kernel_service.culling import CullLimits, reason_to_cull
from kernel_service.errors import PoolClosed, PoolTimeout, ReaderQuotaExceeded, TooManyRequests
from kernel_service.pool import KernelPool, PoolLimits


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
        assert {type(result) for result in results} == {str, TooManyRequests}
        assert pool.get_stats().spares == 0

    pooled(scene, Nursery(delay_s=0.001), min_size=2, max_size=5)


def test_a_kernel_that_ended_makes_room() -> None:
    async def scene(pool: KernelPool, _nursery: Nursery) -> None:
        first = await pool.acquire("ada")
        with pytest.raises(TooManyRequests, match="expected at most 1 kernels in this service, got 1 already"):
            await pool.acquire("bob")
        pool.release(first)
        assert pool.owner(first) is None
        await pool.acquire("bob")

    pooled(scene, min_size=0, max_size=1)


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
