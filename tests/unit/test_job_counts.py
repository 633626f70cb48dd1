"""Counting jobs for scrapes: seldom, and once for all who ask."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import DatabaseUnavailable
from gateway.job import JobStatus
from gateway.jobs.counts import FRESH_SECONDS, JobCounts


class Table:
    """What is counted. Set ``answers`` to let counts end."""

    def __init__(self) -> None:
        self.now = 0.0
        self.counted = 0
        self.answers = asyncio.Event()
        self.fails = False
        self.counts = JobCounts(self.count, lambda: self.now)

    async def count(self) -> dict[JobStatus, int]:
        self.counted += 1
        number = self.counted
        await self.answers.wait()
        if self.fails:
            raise DatabaseUnavailable
        return {JobStatus.PENDING: number}


async def test_who_asks_at_once_shares_one_count_also_if_one_gives_up() -> None:
    table = Table()
    asking = [asyncio.create_task(table.counts.get()) for _ in range(10)]
    await asyncio.sleep(0)
    asking.pop().cancel()
    table.answers.set()
    assert [one[JobStatus.PENDING] for one in await asyncio.gather(*asking)] == [1] * 9


async def test_counts_are_kept_for_some_seconds() -> None:
    table = Table()
    table.answers.set()
    for now, number in ((0.0, 1), (FRESH_SECONDS - 0.1, 1), (FRESH_SECONDS, 2)):
        table.now = now
        assert (await table.counts.get())[JobStatus.PENDING] == number


async def test_a_failure_is_not_kept() -> None:
    table = Table()
    table.answers.set()
    table.fails = True
    with pytest.raises(DatabaseUnavailable):
        await table.counts.get()
    table.fails = False
    assert (await table.counts.get())[JobStatus.PENDING] == 2
