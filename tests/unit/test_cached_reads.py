"""A cache of reads: how long a value is fresh, who shares a read, what is evicted."""

from __future__ import annotations

import asyncio
import math

import pytest

from gateway.runtime.cached_reads import CachedReads

SIZE = 3
FOREVER = "forever"


class Source:
    """Counts its reads; clear ``may_answer`` to hold them."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.now = 0.0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.error: Exception | None = None
        self.cache = CachedReads(self.read, self.seconds, SIZE, clock=lambda: self.now)

    async def read(self, key: str) -> int:
        self.keys.append(key)
        number = len(self.keys)
        await self.may_answer.wait()
        if self.error:
            raise self.error
        return number

    def seconds(self, key: str) -> float:
        return math.inf if key.startswith(FOREVER) else 1.0

    def ask(self, key: str = "key") -> asyncio.Task[int]:
        return asyncio.create_task(self.cache.get(key))


async def test_a_value_is_fresh_for_its_seconds() -> None:
    source = Source()
    for now, expected in ((0.0, 1), (0.999, 1), (1.0, 2), (1.5, 2), (2.0, 3)):
        source.now = now
        assert await source.cache.get("key") == expected


async def test_how_long_a_value_is_fresh_depends_on_its_key() -> None:
    source = Source()
    assert await source.cache.get(FOREVER) == 1
    source.now = 1_000_000.0
    assert await source.cache.get(FOREVER) == 1


async def test_a_slow_read_is_shared_and_fresh_from_when_it_arrived() -> None:
    source = Source()
    source.may_answer.clear()
    waiting = []
    for now in range(5):
        source.now = float(now)
        waiting.append(source.ask())
        await asyncio.sleep(0)
    source.may_answer.set()
    assert set(await asyncio.gather(*waiting)) == {1}
    for now, expected in ((4.999, 1), (5.0, 2)):
        source.now = now
        assert await source.cache.get("key") == expected


async def test_a_read_under_way_survives_the_eviction_of_others() -> None:
    source = Source()
    source.may_answer.clear()
    first = source.ask("slow")
    while not source.keys:
        await asyncio.sleep(0)
    slow, source.may_answer = source.may_answer, asyncio.Event()
    source.may_answer.set()
    for number in range(SIZE + 1):
        await source.cache.get(str(number))
    again = source.ask("slow")
    await asyncio.sleep(0)
    slow.set()
    await asyncio.gather(first, again)
    assert source.keys.count("slow") == 1


async def test_callers_at_once_share_one_read() -> None:
    source = Source()
    source.may_answer.clear()
    waiting = [source.ask() for _ in range(100)]
    await asyncio.sleep(0)
    source.may_answer.set()
    assert set(await asyncio.gather(*waiting)) == {1}


async def test_a_caller_that_is_cancelled_leaves_the_read_to_the_others() -> None:
    source = Source()
    source.may_answer.clear()
    first, second = source.ask(), source.ask()
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    source.may_answer.set()
    assert await second == 1


async def test_each_key_has_its_own_value() -> None:
    source = Source()
    await source.cache.get("a")
    await source.cache.get("b")
    assert source.keys == ["a", "b"]


async def test_a_failure_is_not_cached() -> None:
    source = Source()
    source.error = RuntimeError("no database")
    with pytest.raises(RuntimeError):
        await source.cache.get(FOREVER)
    source.error = None
    assert await source.cache.get(FOREVER) == 2


async def test_the_oldest_value_is_evicted() -> None:
    source = Source()
    for number in range(SIZE + 1):
        await source.cache.get(f"{FOREVER} {number}")
    await source.cache.get(f"{FOREVER} 1")
    assert len(source.keys) == SIZE + 1
    await source.cache.get(f"{FOREVER} 0")
    assert len(source.keys) == SIZE + 2
