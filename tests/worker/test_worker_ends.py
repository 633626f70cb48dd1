"""What ends a job that did not notice its end, what leaves it alone, and what its end says."""

from __future__ import annotations

import asyncio
import logging

import pytest

from gateway.job import JobStatus
from gateway.worker.in_flight import ItemReport
from gateway.worker.item_store import ItemStore
from support.worker_kit import Bench, counters, query

OLD = "now() AT TIME ZONE 'UTC' - interval '1 day'"


# TeamCache Manager's own table lets counters be null.
NULLABLE = "ALTER TABLE cache_jobs " + ", ".join(
    f"ALTER {name} DROP NOT NULL" for name in ("total_files", "completed_files", "failed_files")
)


def make_job(bench: Bench, status: str, items: list[str], total: int | None, when: str) -> str:
    """A job of TeamCache Manager's with items of these states."""
    if total is None:
        query(bench.settings, NULLABLE)
    [row] = query(
        bench.settings,
        "INSERT INTO cache_jobs (status, file_paths, total_files, created_at, started_at)"
        f" VALUES (%s, '{{}}', %s, {when}, {when}) RETURNING id::text",
        status,
        total,
    )
    for number, state in enumerate(items):
        query(
            bench.settings,
            "INSERT INTO cache_job_items (job_id, file_path, status, completed_at, error_message)"
            f" VALUES (%s, %s, %s, {when}, CASE %s WHEN 'failed' THEN 'gone' END)",
            *(row.id, f"/media/{number}", state, state),
        )
    return str(row.id)


@pytest.mark.parametrize(
    ("status", "items", "total", "when", "ends"),
    [
        ("pending", [], 100_000, "now() AT TIME ZONE 'UTC'", False),
        ("pending", [], 100_000, OLD, False),
        ("running", [], 100_000, "now() AT TIME ZONE 'UTC'", False),
        ("running", [], 100_000, OLD, True),
        ("running", ["completed"], 100_000, "now() AT TIME ZONE 'UTC'", False),
        ("running", ["completed"], 100_000, OLD, True),
        ("running", ["completed", "failed"], 2, "now() AT TIME ZONE 'UTC'", True),
        ("pending", ["completed", "failed"], 2, OLD, True),
        ("running", ["completed", "pending"], 2, OLD, False),
        ("running", ["completed", "running"], 2, OLD, False),
        ("paused", ["completed"], 1, OLD, False),
        ("running", ["completed"], None, "now() AT TIME ZONE 'UTC'", True),
        ("running", [], None, "now() AT TIME ZONE 'UTC'", False),
    ],
)
async def test_only_a_job_that_nobody_fills_any_more_is_ended(
    bench: Bench,
    item_store: ItemStore,
    status: str,
    items: list[str],
    total: int | None,
    when: str,
    ends: bool,
) -> None:
    job_id = make_job(bench, status, items, total, when)
    assert (job_id in await item_store.drained_jobs(quiet_seconds=600)) is ends


async def test_a_job_that_is_still_without_items_cannot_be_ended(
    bench: Bench, item_store: ItemStore
) -> None:
    job_id = make_job(bench, "pending", [], 100_000, OLD)
    assert not await item_store.finish_drained_job(job_id)
    assert counters(bench.settings, job_id)[0] == "pending"


@pytest.mark.parametrize(
    ("items", "error"),
    [
        (["completed", "completed"], None),
        (["completed", "failed", "failed"], "2 of 3 files failed, the first: /media/1: gone"),
        (["completed", "cancelled"], "1 of 2 files failed"),
        ([], "None of its files is left"),
    ],
)
async def test_a_job_that_is_ended_says_what_failed(
    bench: Bench, item_store: ItemStore, items: list[str], error: str | None
) -> None:
    job_id = make_job(bench, "running", items, len(items), OLD)
    assert await item_store.finish_drained_job(job_id)
    assert (await bench.store.get(job_id)).error == error


@pytest.mark.parametrize("uncounted", [None, 0])
async def test_a_job_whose_files_nobody_counted_ends_with_its_last_file(
    bench: Bench, item_store: ItemStore, uncounted: int | None
) -> None:
    query(bench.settings, NULLABLE)
    job_id = make_job(bench, "running", ["pending"] * 4, uncounted, OLD)
    query(
        bench.settings,
        "UPDATE cache_jobs SET completed_files = NULL, failed_files = NULL WHERE id = %s",
        job_id,
    )
    tasks = [item.task for item in await item_store.claim(job_id, 3)]
    for task in tasks:
        report = [ItemReport(task, "completed", None, 0)]
        assert await item_store.report(job_id, report) is JobStatus.RUNNING
    [last] = await item_store.claim(job_id, 3)
    assert (
        await item_store.report(job_id, [ItemReport(last.task, "failed", "gone", 0)]) == "completed"
    )
    assert counters(bench.settings, job_id)[:3] == ("completed", 3, 1)
    assert (await bench.store.get(job_id)).error == "1 of 4 files failed, the first: /media/3: gone"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
async def test_the_first_failed_file_is_named_in_whichever_order_they_fail(
    bench: Bench, item_store: ItemStore, order: tuple[int, ...]
) -> None:
    await bench.index({"a/0%s": 1, "a/1 Ä'\"": 1, "a/2\\": 1, "a/3": 1})
    job_id = await bench.submit("a")
    tasks = [item.task for item in await item_store.claim(job_id, 4)]
    await item_store.report(job_id, [ItemReport(tasks[3], "completed", None, 1)])
    for number in order:
        error = f'"odd" \\ reason {number}'
        await item_store.report(job_id, [ItemReport(tasks[number], "failed", error, 0)])
    assert (await bench.store.get(job_id)).error == (
        f'3 of 4 files failed, the first: {tasks[0].path}: "odd" \\ reason 0'
    )


async def test_files_that_fail_are_told_in_the_log(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = await bench.submit(files=["gone"])
    async with bench.working():
        await bench.end_of(job_id)
    path = str(bench.mount / "gone")
    expected = f"job {job_id}: 1 files failed, the first: {path!r}: No such file or directory"
    assert [r.levelname for r in caplog.records if r.getMessage() == expected] == ["WARNING"]


@pytest.mark.parametrize("is_empty", [True, False])
async def test_a_worker_says_what_it_reads_and_whether_there_is_anything(
    bench: Bench, caplog: pytest.LogCaptureFixture, is_empty: bool
) -> None:
    caplog.set_level(logging.INFO, "gateway")
    if is_empty:
        (bench.mount / ".something").unlink()
    async with bench.working(settings={"worker_concurrency": 3}):
        job_id = await bench.submit(files=["gone"])
        async with asyncio.timeout(30):
            while is_empty and "is gone, waiting for it" not in caplog.text:
                await asyncio.sleep(0.02)
        assert counters(bench.settings, job_id)[2] == 0 or not is_empty
        (bench.mount / "file").touch()
        await bench.end_of(job_id)
    assert f"reading {bench.mount} with 3 readers" in caplog.text
    assert ("is no directory with something in it" in caplog.text) is is_empty
