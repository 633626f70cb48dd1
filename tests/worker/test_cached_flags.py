"""Marks in the index: behind reports, past locked rows, and made up for at a job's end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace

import psycopg2
import pytest

from gateway.database import connection_arguments
from gateway.runtime.tasks import background_task
from gateway.worker import cached_flags
from gateway.worker.cached_flags import CachedFlagWriter
from gateway.worker.in_flight import ItemReport
from gateway.worker.item_store import ItemStore
from support.worker_kit import QUICK, Bench, counters, query


@contextmanager
def locked(bench: Bench, statement: str) -> Iterator[None]:
    """Hold what a statement locks, as an indexer's transaction does."""
    with closing(psycopg2.connect(**connection_arguments(bench.settings))) as connection:
        connection.cursor().execute(statement)
        yield
        connection.rollback()


def unmarked(bench: Bench) -> set[str]:
    rows = query(bench.settings, "SELECT path FROM files WHERE NOT cached")
    return {row.path.removeprefix(str(bench.mount)) for row in rows}


async def read_all(bench: Bench, item_store: ItemStore, job_id: str) -> Sequence[int]:
    """Claim and report the items of a job, and die before anything is marked."""
    items = await item_store.claim(job_id, 1000)
    await item_store.report(
        job_id, [ItemReport(item.task, "completed", None, item.task.size) for item in items]
    )
    return [item.task.item_id for item in items]


async def read_two(bench: Bench, item_store: ItemStore) -> tuple[str, Sequence[int]]:
    """A job of ``a/one`` and ``a/two`` that are read and not marked, and their items."""
    await bench.index({"a/one": 1, "a/two": 1})
    job_id = await bench.submit("a")
    return job_id, await read_all(bench, item_store, job_id)


def impatient(bench: Bench) -> ItemStore:
    """A store whose statements on the index hardly wait for locks."""
    return ItemStore(bench.database, 60, lock_seconds=0.05)


LONG_AGO = """
UPDATE teamcache_gateway.unmarked_jobs SET noted_at = noted_at - interval '1 day';
UPDATE cache_jobs SET completed_at = completed_at - interval '1 day'
"""
ONE_FILE = "SELECT 1 FROM files WHERE name = 'one' FOR UPDATE"
ONE_DIRECTORY = "SELECT 1 FROM files WHERE name = 'a' FOR UPDATE"
WHOLE_TABLE = "LOCK TABLE files IN ACCESS EXCLUSIVE MODE"


@pytest.mark.parametrize("lock", [ONE_FILE, ONE_DIRECTORY, WHOLE_TABLE])
async def test_a_locked_index_holds_up_no_job_and_is_marked_when_it_is_free(
    bench: Bench, lock: str
) -> None:
    await bench.index({"a/one": 1, "a/two": 1, "b/three": 1})
    first, second = await bench.submit("a"), await bench.submit("b")
    async with bench.working():
        with locked(bench, lock):
            await bench.end_of(first)
            await bench.end_of(second)
    assert counters(bench.settings, first)[:2] == ("completed", 2)
    assert unmarked(bench) == set()


async def test_what_is_locked_until_after_the_end_does_not_hold_up_the_others(
    bench: Bench, item_store: ItemStore
) -> None:
    await bench.index({"a/one": 1, "a/two": 1, "b/three": 1})
    job_id = await bench.submit("a", files=["gone"])
    items = await read_all(bench, item_store, job_id)
    with locked(bench, ONE_FILE):
        [held] = await item_store.set_cached_flags(job_id, items)
        assert "/a/two" not in unmarked(bench)
    assert await item_store.set_cached_flags(job_id, [held]) == []
    assert "/a/one" not in unmarked(bench)


async def test_a_file_that_changes_while_its_row_is_held_is_not_marked(
    bench: Bench, item_store: ItemStore
) -> None:
    job_id, items = await read_two(bench, item_store)
    with locked(bench, ONE_FILE):
        [held] = await item_store.set_cached_flags(job_id, items)
    await bench.index({"a/one": 2})
    assert await item_store.set_cached_flags(job_id, [held]) == []
    assert "/a/one" in unmarked(bench)


async def test_a_stop_waits_for_a_locked_index_only_so_long(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.index({"a/one": 1, "a/two": 1})
    job_id = await bench.submit("a")
    with locked(bench, ONE_FILE):
        async with asyncio.timeout(30):
            async with bench.working(settings={"shutdown_timeout": 2.0}):
                await bench.end_of(job_id)
    assert "1 files that were read are not marked as cached" in caplog.text
    assert unmarked(bench) == {"/a/one", "/a", ""}


async def test_the_end_of_a_job_marks_what_a_killed_worker_owed(
    bench: Bench, item_store: ItemStore
) -> None:
    await bench.index({f"a/{number}": 1 for number in range(10)} | {"b/last": 1})
    job_id = await bench.submit("a", "b")
    query(bench.settings, "UPDATE cache_job_items SET status='failed' WHERE file_path ~ 'last'")
    await read_all(bench, item_store, job_id)
    query(bench.settings, "UPDATE cache_job_items SET status='pending' WHERE file_path ~ 'last'")
    assert "/a/3" in unmarked(bench)
    async with bench.working():
        await bench.end_of(job_id)
    assert unmarked(bench) == set()


async def test_a_file_that_changed_since_it_was_read_is_not_marked_at_the_end(
    bench: Bench, item_store: ItemStore
) -> None:
    await bench.index({"a/one": 1, "a/two": 1})
    job_id = await bench.submit("a")
    await read_all(bench, item_store, job_id)
    await bench.index({"a/two": 2})
    marks = CachedFlagWriter(item_store, QUICK)
    marks.end(job_id)
    await marks.drain()
    assert unmarked(bench) == {"/a/two", "/a", ""}


async def test_more_files_than_one_statement_marks_are_all_marked(
    bench: Bench, item_store: ItemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached_flags, "BATCH", 3)
    monkeypatch.setattr("gateway.worker.item_store.FLAGS_PER_STATEMENT", 4)
    await bench.index({f"a/{number}": 1 for number in range(20)})
    job_id = await bench.submit("a")
    items = await read_all(bench, item_store, job_id)
    marks = CachedFlagWriter(item_store, QUICK)
    marks.add(job_id, items[:8])
    marks.end(job_id)
    await marks.drain()
    assert (marks.owed, unmarked(bench)) == (0, set())


async def test_only_so_many_waiting_files_are_remembered(
    item_store: ItemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached_flags, "MAX_WAITING", 5)
    marks = CachedFlagWriter(item_store, QUICK)
    for number in range(10):
        marks.add("job", [number])
    assert marks.owed == 5


async def test_directories_that_stay_locked_are_given_up(
    bench: Bench,
    item_store: ItemStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(cached_flags, "FINISH_ATTEMPTS", 2)
    await bench.index({"a/one": 1})
    job_id = await bench.submit("a")
    await read_all(bench, item_store, job_id)
    marks = CachedFlagWriter(impatient(bench), QUICK)
    with locked(bench, ONE_DIRECTORY):
        marks.end(job_id)
        await marks.drain()
    assert "could not be marked" in caplog.text
    assert unmarked(bench) == {"/a", ""}


UNMARKED_JOBS = "SELECT job_id FROM teamcache_gateway.unmarked_jobs"


async def test_a_job_whose_end_nobody_followed_up_is_found_by_another_worker(
    bench: Bench, item_store: ItemStore
) -> None:
    await read_two(bench, item_store)
    assert len(query(bench.settings, UNMARKED_JOBS)) == 1
    timers = replace(QUICK, unset_flags=0, housekeeping=0.1, idle=0.1)
    async with bench.working(timers=timers), asyncio.timeout(30):
        while query(bench.settings, UNMARKED_JOBS):
            await asyncio.sleep(0.05)
    assert unmarked(bench) == set()


async def test_a_job_that_ended_just_now_is_left_to_its_worker(
    bench: Bench, item_store: ItemStore
) -> None:
    await read_two(bench, item_store)
    assert await item_store.jobs_with_unset_flags(QUICK.unset_flags) == []


async def test_what_a_killed_worker_had_read_of_a_job_that_was_cancelled_is_marked(
    bench: Bench, item_store: ItemStore
) -> None:
    await bench.index({"a/one": 1, "a/two": 1})
    job_id = await bench.submit("a")
    [one] = await item_store.claim(job_id, 1)
    await item_store.report(job_id, [ItemReport(one.task, "completed", None, 1)])
    assert await item_store.jobs_with_unset_flags(0) == [], "it is not at its end"
    await bench.store.cancel(job_id)
    assert await item_store.jobs_with_unset_flags(0) == [job_id]
    marks = CachedFlagWriter(item_store, QUICK)
    marks.end(job_id)
    await marks.drain()
    assert "/a/one" not in unmarked(bench)
    assert query(bench.settings, UNMARKED_JOBS) == []


async def test_a_job_whose_directories_are_locked_is_tried_again_later(
    bench: Bench, item_store: ItemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached_flags, "FINISH_ATTEMPTS", 1)
    job_id, _ = await read_two(bench, item_store)
    query(bench.settings, LONG_AGO)
    assert await item_store.jobs_with_unset_flags(QUICK.unset_flags) == [job_id]
    marks = CachedFlagWriter(impatient(bench), QUICK)
    with locked(bench, ONE_DIRECTORY):
        marks.end(job_id)
        await marks.drain()
    assert await item_store.jobs_with_unset_flags(QUICK.unset_flags) == []
    assert len(query(bench.settings, UNMARKED_JOBS)) == 1


class Busy:
    """Whether files are read, as often as it is asked."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    def __call__(self) -> bool:
        self.asked.set()
        return True


@asynccontextmanager
async def held_back(
    bench: Bench, item_store: ItemStore
) -> AsyncIterator[tuple[str, CachedFlagWriter]]:
    """A job whose two files are read, and marks that wait until there is a reason to hurry."""
    job_id, items = await read_two(bench, item_store)
    marks = CachedFlagWriter(item_store, replace(QUICK, hold=3600), busy := Busy())
    async with background_task(marks.run()), asyncio.timeout(30):
        marks.add(job_id, items)
        await busy.asked.wait()
        yield job_id, marks


async def test_marks_wait_while_files_are_read(bench: Bench, item_store: ItemStore) -> None:
    async with held_back(bench, item_store) as (_, marks):
        assert "/a/one" in unmarked(bench)
        marks.flush_now()
        await marks.wait_until_drained()
    assert "/a/one" not in unmarked(bench)


async def test_marks_do_not_wait_for_long(bench: Bench, item_store: ItemStore) -> None:
    job_id, items = await read_two(bench, item_store)
    marks = CachedFlagWriter(item_store, replace(QUICK, hold=0.1), Busy())
    async with background_task(marks.run()), asyncio.timeout(30):
        marks.add(job_id, items)
        await marks.wait_until_drained()
    assert "/a/one" not in unmarked(bench)


async def test_the_end_of_a_job_is_a_reason_to_mark_at_once(
    bench: Bench, item_store: ItemStore
) -> None:
    async with held_back(bench, item_store) as (job_id, marks):
        marks.end(job_id)
        await marks.wait_until_drained()
    assert "/a" not in unmarked(bench)


async def test_files_that_come_while_others_are_marked_are_not_taken_for_locked(
    bench: Bench, item_store: ItemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, items = await read_two(bench, item_store)
    marks = CachedFlagWriter(item_store, replace(QUICK, flags_retry=3600))
    mark = item_store.set_cached_flags

    async def mark_slowly(job_id: str, batch: Sequence[int]) -> Sequence[int]:
        if tuple(batch) == tuple(items[:1]):
            marks.add(job_id, items[1:])
            marks.end(job_id)
        return await mark(job_id, batch)

    monkeypatch.setattr(item_store, "set_cached_flags", mark_slowly)
    marks.add(job_id, items[:1])
    async with asyncio.timeout(30):
        await marks.drain()
    assert "/a" not in unmarked(bench)
