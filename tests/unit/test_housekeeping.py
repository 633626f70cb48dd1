"""When a worker looks for what should not be broken: with a clock that the test moves."""

from __future__ import annotations

from typing import Any

from gateway.worker.cached_flags import CachedFlagWriter
from gateway.worker.housekeeping import Housekeeping
from gateway.worker.in_flight import InFlightTable
from gateway.worker.timers import Timers
from support.reader_kit import Clock

TIMERS = Timers()


class CountingItems:
    """Items of which nothing is broken; counts the looks."""

    rounds = 0

    async def reclaim_orphans(self, in_flight: object) -> int:
        self.rounds += 1
        return self.rounds

    async def drained_jobs(self, quiet_seconds: float) -> list[str]:
        return []

    async def jobs_with_unset_flags(self, seconds: float) -> list[str]:
        return []


async def test_it_runs_now_and_then_and_says_whether_there_is_something_to_claim() -> None:
    clock, items = Clock(), CountingItems()
    store: Any = items
    flags = CachedFlagWriter(store, TIMERS)
    housekeeping = Housekeeping(store, InFlightTable(), flags, TIMERS, clock)
    assert not await housekeeping.run_if_due()
    clock.now += TIMERS.housekeeping
    assert await housekeeping.run_if_due()
    assert not await housekeeping.run_if_due()
    assert items.rounds == 1
