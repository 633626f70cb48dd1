"""Jobs of small files that come from memory: locked, read and reported a batch at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from worker_kit import Bench, GatedFiles, counters, happens, item_states, query

from gateway.database import Database
from gateway.tasks import end
from gateway.worker import express_lane, locked_batches
from gateway.worker.express_lane import PLENTY
from gateway.worker.item_store import LockedItems, Small
from gateway.worker.schedule import FIRST_CLAIM
from gateway.worker.worker import Worker

FILES = FIRST_CLAIM + 6 * PLENTY
SIZE = 10
DONE = ("completed", FILES, 0, FILES * SIZE, 0)


@pytest.fixture(autouse=True)
def batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many items each batch had."""
    sizes: list[int] = []
    begin = locked_batches.LockedBatches.add

    def add(self: locked_batches.LockedBatches, locked: LockedItems) -> object:
        sizes.append(len(locked.items))
        return begin(self, locked)

    monkeypatch.setattr(locked_batches.LockedBatches, "add", add)
    monkeypatch.setattr(locked_batches, "SMALL", Small(items=PLENTY, size=SIZE))
    yield sizes


async def many(bench: Bench) -> str:
    await bench.index({f"a/{number // 100}/{number:04}": SIZE for number in range(FILES)})
    return await bench.submit("a")


async def test_files_from_memory_are_locked_and_count_once(
    bench: Bench, batches: list[int]
) -> None:
    job_id = await many(bench)
    async with bench.working():
        await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == DONE
    assert item_states(bench.settings, job_id) == {"completed": FILES}
    assert sum(batches) > PLENTY


async def test_a_second_job_is_locked_from_its_beginning(bench: Bench, batches: list[int]) -> None:
    first = await many(bench)
    async with bench.working():
        await bench.end_of(first)
        batches.clear()
        second = await bench.submit("a")
        await bench.end_of(second)
    assert counters(bench.settings, second) == DONE
    assert sum(batches) == FILES


async def test_with_few_connections_nothing_is_locked(bench: Bench, batches: list[int]) -> None:
    job_id = await many(bench)
    async with bench.working(settings={"db_pool_size": locked_batches.LEAST_CONNECTIONS - 1}):
        await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == DONE
    assert batches == []


async def test_jobs_of_small_and_of_large_files_share_the_readers(
    bench: Bench, batches: list[int]
) -> None:
    await bench.index({f"b/{number}": 10 * SIZE for number in range(100)})
    small, large = await many(bench), await bench.submit("b")
    async with bench.working():
        await bench.end_of(large)
        await bench.end_of(small)
    assert counters(bench.settings, small) == DONE
    assert counters(bench.settings, large) == ("completed", 100, 0, 1000 * SIZE, 0)


async def test_files_that_fail_in_a_batch_are_counted(bench: Bench, batches: list[int]) -> None:
    job_id = await many(bench)
    lost = [bench.mount / f"a/{number // 100}/{number:04}" for number in range(0, FILES, 100)]
    for path in lost:
        path.unlink()
    async with bench.working():
        await bench.end_of(job_id)
    left, gone = FILES - len(lost), len(lost)
    expected = ("completed", left, gone, left * SIZE, gone * SIZE)
    assert counters(bench.settings, job_id) == expected
    assert sum(batches) > PLENTY


HELD = f"{FIRST_CLAIM + 2 * PLENTY:04}"


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read may take as long as it likes."""
    monkeypatch.setattr(express_lane, "HANG_SECONDS", 3600.0)
    monkeypatch.setattr(express_lane, "WINDOW_SECONDS", 3600.0)
    monkeypatch.setattr(locked_batches, "LONGEST_SECONDS", 3600.0)


async def test_a_read_that_hangs_holds_up_none_of_its_batch(
    bench: Bench, batches: list[int]
) -> None:
    job_id = await many(bench)
    source = GatedFiles(bench.mount, held=HELD)
    async with bench.working(source=source):
        await happens(source.waiting)
        await bench.watch(job_id, lambda job: job.progress.completed_files == FILES - 1)
        assert item_states(bench.settings, job_id) == {"completed": FILES - 1, "running": 1}
        source.gate.set()
        await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == DONE
    assert batches


async def test_a_stop_reports_what_was_read_of_a_batch(
    bench: Bench, batches: list[int], patience: None
) -> None:
    job_id = await many(bench)
    source = GatedFiles(bench.mount, held=HELD)
    async with bench.working(source=source, settings={"shutdown_timeout": 4.0}):
        await happens(source.waiting)
    source.gate.set()
    states = item_states(bench.settings, job_id)
    assert set(states) == {"completed", "pending"}
    assert counters(bench.settings, job_id)[1] == states["completed"] >= FIRST_CLAIM + 2 * PLENTY
    async with bench.working():
        await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == DONE


async def test_a_worker_that_is_torn_off_leaves_its_batch_as_it_was(
    bench: Bench, batches: list[int], patience: None
) -> None:
    job_id = await many(bench)
    source = GatedFiles(bench.mount, held=HELD)
    async with Database(bench.settings) as database:
        worker = Worker(bench.settings, database, source=source)
        working = asyncio.create_task(worker.run(asyncio.Event()))
        await happens(source.waiting)
        await end(working)
    source.gate.set()
    assert counters(bench.settings, job_id)[1] < FILES
    async with bench.working(is_alone=True):
        await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == DONE


async def test_a_batch_whose_connection_is_lost_is_read_again(
    bench: Bench, batches: list[int], patience: None, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = await many(bench)
    source = GatedFiles(bench.mount, held=HELD)
    async with bench.working(source=source):
        await happens(source.waiting)
        query(
            bench.settings,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND state = 'idle in transaction'",
        )
        source.gate.set()
        await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == DONE
    assert "files are read again" in caplog.text


async def test_a_job_that_is_cancelled_in_a_batch_counts_nothing_more(
    bench: Bench, batches: list[int], patience: None
) -> None:
    job_id = await many(bench)
    source = GatedFiles(bench.mount, held=HELD)
    async with bench.working(source=source):
        await happens(source.waiting)
        await bench.store.cancel(job_id)
        before = counters(bench.settings, job_id)
        source.gate.set()
        await bench.store.cancel_items(job_id)
    assert counters(bench.settings, job_id) == before
    assert before[:1] == ("cancelled",)
    states = item_states(bench.settings, job_id)
    assert states["completed"] == before[1]
    assert set(states) <= {"completed", "cancelled", "pending"}
