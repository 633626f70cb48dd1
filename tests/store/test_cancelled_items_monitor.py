"""The items of a cancelled job follow it, also those that somebody holds at that moment."""

from __future__ import annotations

import asyncio

from gateway.database.readiness import Readiness
from gateway.monitors.cancelled_items import AGAIN_SECONDS, CancelItemsMonitor
from gateway.worker.item_store import ItemStore, LockedItems, Small
from support.worker_kit import Bench, item_states


async def test_what_a_worker_had_locked_follows_when_it_has_died(
    bench: Bench, item_store: ItemStore
) -> None:
    await bench.index({f"a/{number}": 10 for number in range(5)})
    job_id = await bench.submit("a")
    readiness = Readiness()
    readiness.set_ready()
    monitor = CancelItemsMonitor(bench.store, readiness, asyncio.Event())
    locked = await item_store.claim_or_lock(job_id, 1, Small(items=3, size=10))
    assert isinstance(locked, LockedItems)
    async with locked:
        await bench.store.cancel(job_id)
        await monitor.check_once()
        assert monitor.interval == AGAIN_SECONDS
        assert item_states(bench.settings, job_id) == {"pending": 3, "cancelled": 2}
    await monitor.check_once()
    assert monitor.interval == CancelItemsMonitor.interval
    assert item_states(bench.settings, job_id) == {"cancelled": 5}
