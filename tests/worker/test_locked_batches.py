"""Jobs of small files that come from memory: locked, read and reported a batch at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from gateway.database import Database
from gateway.runtime.tasks import cancel_and_wait
from gateway.worker import locked_batches, pacing
from gateway.worker.item_store import LockedItems, Small
from gateway.worker.pacing import FIRST_CLAIM
from gateway.worker.readers import small_file_queue
from gateway.worker.readers.small_file_queue import PLENTY
from gateway.worker.worker import Worker
from support.worker_kit import Bench, GatedFiles, counters, happens, item_states, query

FILES = 5 * PLENTY
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
    # However busy the machine is, and however few are claimed at first: these come from memory.
    monkeypatch.setattr(small_file_queue, "PLENTY", 1)
    monkeypatch.setattr(small_file_queue, "HANG_SECONDS", 3600.0)
    monkeypatch.setattr(small_file_queue, "WINDOW_SECONDS", 3600.0)
    yield sizes


async def index(bench: Bench) -> None:
    names = [f"a/{number // 100}/{number:04}" for number in range(FILES)]
    await bench.index(dict.fromkeys([*names, *(f"first/{n}" for n in range(3 * PLENTY))], SIZE))


async def submit(bench: Bench) -> str:
    """A job of many files, when it is known that they come from memory."""
    await bench.end_of(await bench.submit("first"))
    return await bench.submit("a")


async def test_files_from_memory_are_locked_and_count_once(
    bench: Bench, batches: list[int]
) -> None:
    await index(bench)
    async with bench.working():
        job_id = await submit(bench)
        await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == DONE
    assert item_states(bench.settings, job_id) == {"completed": FILES}
    assert sum(batches) > PLENTY


async def test_a_second_job_is_locked_from_its_beginning(bench: Bench, batches: list[int]) -> None:
    await index(bench)
    async with bench.working():
        first = await submit(bench)
        await bench.end_of(first)
        batches.clear()
        second = await bench.submit("a")
        await bench.end_of(second)
    assert counters(bench.settings, second) == DONE
    assert sum(batches) == FILES


async def test_with_few_connections_nothing_is_locked(bench: Bench, batches: list[int]) -> None:
    await index(bench)
    async with bench.working(settings={"db_pool_size": locked_batches.LEAST_CONNECTIONS - 1}):
        job_id = await submit(bench)
        await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == DONE
    assert batches == []


async def test_jobs_of_small_and_of_large_files_share_the_readers(
    bench: Bench, batches: list[int]
) -> None:
    await bench.index({f"b/{number}": 10 * SIZE for number in range(100)})
    await index(bench)
    async with bench.working():
        small, large = await submit(bench), await bench.submit("b")
        await bench.end_of(large)
        await bench.end_of(small)
    assert counters(bench.settings, small) == DONE
    assert counters(bench.settings, large) == ("completed", 100, 0, 1000 * SIZE, 0)


async def test_files_that_fail_in_a_batch_are_counted(bench: Bench, batches: list[int]) -> None:
    await index(bench)
    lost = [bench.mount / f"a/{number // 100}/{number:04}" for number in range(0, FILES, 100)]
    for path in lost:
        path.unlink()
    async with bench.working():
        job_id = await submit(bench)
        await bench.end_of(job_id)
    left, gone = FILES - len(lost), len(lost)
    expected = ("completed", left, gone, left * SIZE, gone * SIZE)
    assert counters(bench.settings, job_id) == expected
    assert sum(batches) > PLENTY


HELD = "0300"


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch may take as long as it likes."""
    monkeypatch.setattr(locked_batches, "LONGEST_SECONDS", 3600.0)


async def test_a_read_that_hangs_holds_up_none_of_its_batch(
    bench: Bench, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_file_queue, "HANG_SECONDS", 0.1)
    await index(bench)
    source = GatedFiles(bench.mount, held=HELD)
    async with bench.working(source=source):
        job_id = await submit(bench)
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
    await index(bench)
    source = GatedFiles(bench.mount, held=HELD)
    async with bench.working(source=source, settings={"shutdown_timeout": 4.0}):
        job_id = await submit(bench)
        await happens(source.waiting)
    source.gate.set()
    states = item_states(bench.settings, job_id)
    assert set(states) == {"completed", "pending"}
    assert counters(bench.settings, job_id)[1] == states["completed"] >= int(HELD)
    async with bench.working():
        await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == DONE


async def test_a_worker_that_is_torn_off_leaves_its_batch_as_it_was(
    bench: Bench, batches: list[int], patience: None
) -> None:
    await index(bench)
    source = GatedFiles(bench.mount, held=HELD)
    async with Database(bench.settings) as database:
        worker = Worker(bench.settings, database, source=source)
        working = asyncio.create_task(worker.run(asyncio.Event()))
        job_id = await submit(bench)
        await happens(source.waiting)
        await cancel_and_wait(working)
    source.gate.set()
    assert counters(bench.settings, job_id)[1] < FILES
    async with bench.working(is_alone=True):
        await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == DONE


async def test_a_batch_whose_connection_is_lost_is_read_again(
    bench: Bench, batches: list[int], patience: None, caplog: pytest.LogCaptureFixture
) -> None:
    # What another task has told already is a detail.
    caplog.set_level("DEBUG", "gateway.worker")
    await index(bench)
    source = GatedFiles(bench.mount, held=HELD)
    async with bench.working(source=source):
        job_id = await submit(bench)
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
    await index(bench)
    source = GatedFiles(bench.mount, held=HELD)
    async with bench.working(source=source):
        job_id = await submit(bench)
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


FAILING = """
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN RAISE disk_full USING MESSAGE = 'no room'; END $$;
CREATE TRIGGER fail BEFORE UPDATE OF completed_files ON cache_jobs
FOR EACH ROW EXECUTE FUNCTION fail();
"""


async def test_reports_that_fail_are_told_once_and_tried_seldom(
    bench: Bench, batches: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    await index(bench)
    async with bench.working():
        first = await submit(bench)
        await bench.end_of(first)
        batches.clear()
        query(bench.settings, FAILING)
        second = await bench.submit("a")
        await asyncio.sleep(1.5)  # what is not to happen has some time to
        assert len(batches) <= 4
        query(bench.settings, "DROP TRIGGER fail ON cache_jobs")
        await bench.end_of(second)
    assert counters(bench.settings, second) == DONE
    told = [it for it in caplog.records if it.levelname == "WARNING" and "again" in it.message]
    assert len(told) == 1


async def test_while_others_have_a_job_its_files_are_read_and_other_jobs_go_on(
    bench: Bench, batches: list[int]
) -> None:
    await index(bench)
    async with bench.working(settings={"db_statement_timeout": 1.0}):
        first = await submit(bench)
        await bench.end_of(first)
        async with bench.database.transaction() as session:
            held = await bench.submit("a")
            await session.execute(
                "SELECT FROM cache_jobs WHERE id = %(id)s::uuid FOR NO KEY UPDATE", {"id": held}
            )
            other = await bench.submit("a/0")
            await bench.end_of(other)
        await bench.end_of(held)
    assert counters(bench.settings, held) == DONE


async def test_of_a_slow_filespace_no_more_is_held_than_without_locks(
    bench: Bench, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lane that has been quick is believed to be so until it is not."""
    monkeypatch.setattr(locked_batches, "LONGEST_SECONDS", 0.05)
    monkeypatch.setattr(pacing, "MAX_AHEAD", FIRST_CLAIM)
    await index(bench)
    source = GatedFiles(bench.mount, held="/b/")
    async with bench.working(source=source, settings={"worker_concurrency": 2}):
        first = await submit(bench)
        await bench.end_of(first)
        await bench.index({f"b/{number}": SIZE for number in range(4 * FIRST_CLAIM)})
        slow = await bench.submit("b")
        await happens(source.waiting)
        await asyncio.sleep(1.0)  # what is not to happen has some time to
        assert item_states(bench.settings, slow).get("running", 0) <= FIRST_CLAIM + 4 * PLENTY
        source.gate.set()
        await bench.end_of(slow)


async def test_a_stop_during_a_report_reports_all_that_was_read(
    bench: Bench, batches: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    await index(bench)
    async with bench.working():
        job_id = await submit(bench)
        await bench.watch(job_id, lambda job: job.progress.completed_files > FIRST_CLAIM)
    assert "not reported" not in caplog.text
    states = item_states(bench.settings, job_id)
    assert set(states) <= {"completed", "pending"}
    assert counters(bench.settings, job_id)[1] == states["completed"]
