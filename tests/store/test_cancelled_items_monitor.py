"""The items of a cancelled job follow it, also those that somebody holds at that moment."""

from __future__ import annotations

import asyncio

from gateway.database.readiness import Readiness
from gateway.monitors.cancelled_items import RETRY_SECONDS, CancelItemsMonitor
from support.worker_kit import Bench, item_states

THREE = "SELECT 1 FROM cache_job_items ORDER BY id LIMIT 3 FOR UPDATE"


async def test_items_that_a_transaction_holds_follow_when_it_has_ended(bench: Bench) -> None:
    await bench.index({f"a/{number}": 10 for number in range(5)})
    job_id = await bench.submit("a")
    readiness = Readiness()
    readiness.set_ready()
    monitor = CancelItemsMonitor(bench.store, readiness, asyncio.Event())
    async with bench.database.transaction() as session:
        await session.execute(THREE)
        await bench.store.cancel(job_id)
        await monitor.check_once()
        assert monitor.interval == RETRY_SECONDS
        assert item_states(bench.settings, job_id) == {"pending": 3, "cancelled": 2}
    await monitor.check_once()
    assert monitor.interval == CancelItemsMonitor.interval
    assert item_states(bench.settings, job_id) == {"cancelled": 5}
