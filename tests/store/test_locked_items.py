"""Small items are ours as long as a transaction has them locked, and written once, as they end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gateway.errors import DatabaseUnavailable
from gateway.worker.in_flight import ClaimedItem, ItemReport, ItemStatus
from gateway.worker.item_store import ItemStore, LockedItems, Small
from support.worker_kit import Bench, counters, item_states, query, until_blocked

SIZE = 100
SMALL = Small(items=10, size=SIZE)


async def five(bench: Bench) -> str:
    await bench.index({f"a/{number}": SIZE for number in range(5)})
    return await bench.submit("a")


async def lock(store: ItemStore, job_id: str, small: Small = SMALL) -> LockedItems:
    locked = await store.claim_or_lock(job_id, 1, small)
    assert isinstance(locked, LockedItems)
    return locked


def reports(
    items: Sequence[ClaimedItem], status: ItemStatus = "completed", error: str | None = None
) -> list[ItemReport]:
    mark = SIZE if status == "completed" else 0
    return [ItemReport(item.task, status, error, mark) for item in items]


async def test_locked_items_stay_as_they_are_until_they_are_reported(
    bench: Bench, item_store: ItemStore
) -> None:
    job_id = await five(bench)
    async with await lock(item_store, job_id) as locked:
        assert item_states(bench.settings, job_id) == {"pending": 5}
        assert counters(bench.settings, job_id)[0] == "running"
        assert await locked.report(reports(locked.items)) == "completed"
        assert item_states(bench.settings, job_id) == {"completed": 5}
    assert counters(bench.settings, job_id) == ("completed", 5, 0, 5 * SIZE, 0)


async def test_who_read_them_and_when_is_written_with_their_end(
    bench: Bench, item_store: ItemStore
) -> None:
    job_id = await five(bench)
    async with await lock(item_store, job_id) as locked:
        query(bench.settings, "SELECT pg_sleep(0.1)")
        await locked.report(reports(locked.items))
    rows = query(
        bench.settings,
        "SELECT DISTINCT worker_id, completed_at - started_at > interval '0.1 s' AS took_time"
        " FROM cache_job_items",
    )
    assert rows == [(item_store.worker_id, True)]


async def test_no_more_are_locked_than_wanted(bench: Bench, item_store: ItemStore) -> None:
    job_id = await five(bench)
    async with await lock(item_store, job_id, Small(items=3, size=SIZE)) as locked:
        assert len(locked.items) == 3
        others = await item_store.claim(job_id, 10)
        assert len(others) == 2
    assert item_states(bench.settings, job_id) == {"pending": 3, "running": 2}


@pytest.mark.parametrize("size", [0, SIZE + 1])
async def test_with_one_that_is_large_or_of_unknown_size_the_next_are_claimed(
    bench: Bench, item_store: ItemStore, size: int
) -> None:
    await bench.index({"a/one": SIZE, "a/two": size, "a/three": SIZE})
    job_id = await bench.submit("a")
    claimed = await item_store.claim_or_lock(job_id, 2, SMALL)
    assert not isinstance(claimed, LockedItems)
    assert len(claimed) == 2
    assert item_states(bench.settings, job_id) == {"pending": 1, "running": 2}


async def test_where_nothing_is_pending_nothing_is_locked(
    bench: Bench, item_store: ItemStore
) -> None:
    job_id = await five(bench)
    async with await lock(item_store, job_id):
        assert await item_store.claim_or_lock(job_id, 1, SMALL) == []
        assert await item_store.claim(job_id, 5) == []


async def test_after_an_error_they_are_pending_again(bench: Bench, item_store: ItemStore) -> None:
    job_id = await five(bench)
    with pytest.raises(RuntimeError, match="unlucky"):
        async with await lock(item_store, job_id) as locked:
            assert await locked.lock_job()
            raise RuntimeError("unlucky")
    assert counters(bench.settings, job_id) == ("running", 0, 0, 0, 0)
    assert len(await item_store.claim(job_id, 5)) == 5


async def test_what_still_runs_is_claimed_and_counts_once(
    bench: Bench, item_store: ItemStore
) -> None:
    job_id = await five(bench)
    async with await lock(item_store, job_id) as locked:
        read, unread = reports(locked.items[:3]), reports(locked.items[3:], "running")
        assert await locked.report(read + unread) == "running"
    assert item_states(bench.settings, job_id) == {"completed": 3, "running": 2}
    assert await item_store.report(job_id, reports(locked.items)) == "completed"
    assert counters(bench.settings, job_id) == ("completed", 5, 0, 5 * SIZE, 0)


async def test_what_is_not_reported_is_pending_again(bench: Bench, item_store: ItemStore) -> None:
    job_id = await five(bench)
    async with await lock(item_store, job_id) as locked:
        await locked.report(reports(locked.items[:2]))
    assert item_states(bench.settings, job_id) == {"completed": 2, "pending": 3}


async def test_files_that_fail_are_told_as_ever(bench: Bench, item_store: ItemStore) -> None:
    job_id = await five(bench)
    async with await lock(item_store, job_id) as locked:
        await locked.report(reports(locked.items, "failed", "torn"))
    assert counters(bench.settings, job_id) == ("failed", 0, 5, 0, 5 * SIZE)
    job = await bench.store.get(job_id)
    assert job.error is not None
    assert job.error.startswith("5 of 5 files failed, the first: ")
    assert job.error.endswith("/a/0: torn")


async def test_what_is_read_behind_a_cancel_is_cancelled(
    bench: Bench, item_store: ItemStore
) -> None:
    job_id = await five(bench)
    async with await lock(item_store, job_id) as locked:
        await bench.store.cancel(job_id)
        assert await locked.report(reports(locked.items)) is None
    assert item_states(bench.settings, job_id) == {"cancelled": 5}
    assert counters(bench.settings, job_id) == ("cancelled", 0, 0, 0, 0)


async def test_a_connection_that_is_lost_gives_them_back(
    bench: Bench, item_store: ItemStore
) -> None:
    job_id = await five(bench)
    with pytest.raises(DatabaseUnavailable):
        async with await lock(item_store, job_id) as locked:
            query(
                bench.settings,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND state = 'idle in transaction'",
            )
            await locked.report(reports(locked.items))
    assert len(await item_store.claim(job_id, 5)) == 5


DELETED = "DELETE FROM cache_jobs"
CANCELLED = """
UPDATE cache_jobs SET status = 'cancelled' WHERE status = 'running';
UPDATE cache_job_items SET status = 'cancelled' WHERE status = 'pending';
"""


@pytest.mark.parametrize("statements", [DELETED, CANCELLED], ids=["deletes", "cancels"])
async def test_whoever_has_the_job_and_waits_for_its_items_is_not_waited_for(
    bench: Bench, item_store: ItemStore, statements: str
) -> None:
    job_id = await five(bench)
    async with await lock(item_store, job_id) as locked:
        waiting = asyncio.create_task(asyncio.to_thread(query, bench.settings, statements))
        await until_blocked(bench.settings)
        assert not await locked.lock_job()
        await locked.claim()
        await waiting
    assert set(item_states(bench.settings, job_id)) <= {"running"}
    assert await item_store.report(job_id, reports(locked.items)) is None


async def test_a_job_in_other_hands_is_started_by_its_first_report(
    bench: Bench, item_store: ItemStore
) -> None:
    job_id = await five(bench)
    async with bench.database.transaction() as session:
        await session.execute("SELECT 1 FROM cache_jobs FOR UPDATE")
        locked = await lock(item_store, job_id)  # which does not wait for it
        assert not await locked.lock_job()
    async with locked:
        assert counters(bench.settings, job_id)[0] == "pending"
        assert await locked.report(reports(locked.items[:2])) == "running"
    [job] = query(bench.settings, "SELECT worker_id, started_at FROM cache_jobs")
    assert job.worker_id == item_store.worker_id
    assert job.started_at is not None


async def test_the_job_of_locked_items_is_free_for_others(
    bench: Bench, item_store: ItemStore
) -> None:
    job_id = await five(bench)
    async with await lock(item_store, job_id):
        assert query(bench.settings, "SELECT 1 FROM cache_jobs FOR UPDATE NOWAIT")
        assert query(bench.settings, "UPDATE cache_jobs SET total_files = 5 RETURNING id")


async def test_a_job_that_nobody_counted_ends_with_its_last_items(
    bench: Bench, item_store: ItemStore
) -> None:
    job_id = await five(bench)
    query(bench.settings, "UPDATE cache_jobs SET total_files = 0")
    async with await lock(item_store, job_id, Small(items=3, size=SIZE)) as locked:
        assert await locked.report(reports(locked.items)) == "running"
    async with await lock(item_store, job_id) as locked:
        assert await locked.report(reports(locked.items)) == "completed"


async def test_of_many_files_no_more_are_locked_or_claimed_than_a_batch_has(
    bench: Bench, item_store: ItemStore
) -> None:
    job_id = await five(bench)
    small = Small(items=2, size=SIZE)
    locked = await item_store.claim_or_lock(job_id, 5, small)
    assert isinstance(locked, LockedItems)
    assert len(locked.items) == 2
    async with locked:
        await locked.claim()
    assert item_states(bench.settings, job_id) == {"pending": 3, "running": 2}


async def test_the_locks_of_a_machine_that_is_lost_last_for_seconds(
    bench: Bench, item_store: ItemStore
) -> None:
    job_id = await five(bench)
    async with await lock(item_store, job_id) as locked:
        rows = await locked._session.fetch(
            "SELECT current_setting('idle_in_transaction_session_timeout')"
        )
        assert rows == [("5s",)]


async def test_a_worker_that_has_items_locked_is_not_given_up_for_dead(
    bench: Bench, item_store: ItemStore
) -> None:
    job_id = await five(bench)
    other = ItemStore(bench.database, 60)
    await other.take_lease()
    async with await lock(item_store, job_id) as locked:
        assert await other.reclaim_expired_leases(everybody=True) == 0
        await locked.report(reports(locked.items, "running"))
    assert await other.reclaim_expired_leases(everybody=True) == 5
