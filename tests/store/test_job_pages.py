"""Pages of jobs: whole, in order, and read no more than has changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
import pytest

from gateway.database import Database
from gateway.job import Job, JobStatus
from gateway.jobs import pages as job_pages
from gateway.jobs.pages import REMEMBERED_BYTES, JobPages, PageOfJobs
from gateway.jobs.store import JobStore
from gateway.schemas.serializers import serialize_job_summary
from gateway.settings import Settings
from support.job_lists import Query, create_listed, listed
from support.manager_schema import run_as


class CountingStore(JobStore):
    """Notes which jobs are read, a list each time."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, 60)
        self.readings: list[list[str]] = []

    async def read(self, job_ids: Sequence[str]) -> Sequence[tuple[Job, str | None]]:
        self.readings.append(list(job_ids))
        return await super().read(job_ids)


@pytest.fixture
def query(database_settings: Settings) -> Query:
    """Run statements on a connection of its own, and return the last one's rows."""
    return lambda *statements: run_as(database_settings, database_settings.db_user, *statements)


@pytest.fixture
async def counting(database_settings: Settings) -> AsyncIterator[CountingStore]:
    async with Database(database_settings) as database:
        yield CountingStore(database)


async def seen(pages: JobPages, **wanted: Any) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = orjson.loads(await pages.get(PageOfJobs(**wanted)))["jobs"]
    return jobs


def insert_jobs(query: Query, statuses: Sequence[str]) -> None:
    for number, status in enumerate(statuses):
        query(
            "INSERT INTO cache_jobs (status, file_paths, total_files, created_at)"
            f" VALUES ('{status}', '{{}}', {number}, timestamp '2026-01-01' + interval"
            f" '{number} s')"
        )


async def test_jobs_are_listed_newest_first_by_page_and_status(
    counting: CountingStore, query: Query
) -> None:
    insert_jobs(query, ["pending", "running", "failed", "running", "paused"])
    jobs, total = await listed(counting)
    assert [job.progress.total_files for job in jobs] == [4, 3, 2, 1, 0]
    assert total == 5
    jobs, total = await listed(counting, status=JobStatus.RUNNING, limit=1, offset=1)
    assert [job.progress.total_files for job in jobs] == [1]
    assert total == 2
    assert await listed(counting, offset=10) == ([], 5)
    assert await listed(counting, status=JobStatus.COMPLETED) == ([], 0)


async def test_jobs_of_the_same_instant_are_on_one_page_each(
    counting: CountingStore, query: Query
) -> None:
    query(
        "INSERT INTO cache_jobs (file_paths, created_at)"
        " SELECT '{}', '2026-01-01' FROM generate_series(1, 20)"
    )
    pages = [await listed(counting, limit=3, offset=offset) for offset in range(0, 20, 3)]
    assert len({job.id for jobs, _ in pages for job in jobs}) == 20


async def test_what_has_not_changed_is_not_read_again(
    counting: CountingStore, query: Query
) -> None:
    insert_jobs(query, ["pending", "running", "completed"])
    pages = JobPages(counting)
    first = await seen(pages)
    assert await seen(pages) == first
    assert await seen(pages, limit=1) == first[:1]
    assert await seen(pages, status=JobStatus.RUNNING) == first[1:2]
    assert [len(ids) for ids in counting.readings] == [3]


@pytest.mark.parametrize(
    "change",
    [
        "status = 'running'",
        "completed_files = 2",
        "total_files = 9",
        "error_message = 'gone'",
        "completed_at = '2026-01-02'",
        "submitted_by = 'somebody'",
    ],
)
async def test_a_job_that_changed_is_read_alone(
    counting: CountingStore, query: Query, change: str
) -> None:
    insert_jobs(query, ["pending"] * 3)
    pages = JobPages(counting)
    job_id = (await seen(pages))[1]["id"]
    query(f"UPDATE cache_jobs SET {change} WHERE id = '{job_id}'")
    page = await seen(pages)
    assert counting.readings[1:] == [[job_id]]
    assert page[1] == serialize_job_summary(await counting.get(job_id))
    assert await seen(pages) == page
    assert len(counting.readings) == 2


async def test_a_deleted_job_is_on_no_page_any_more(counting: CountingStore, query: Query) -> None:
    insert_jobs(query, ["pending"] * 3)
    pages = JobPages(counting)
    before = await seen(pages)
    query(f"DELETE FROM cache_jobs WHERE id = '{before[1]['id']}'")
    left = {"success": True, "jobs": [before[0], before[2]], "total": 2}
    assert orjson.loads(await pages.get(PageOfJobs())) == left


async def test_a_job_that_goes_while_a_page_is_made_is_left_out(
    counting: CountingStore, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_jobs(query, ["pending"] * 2)

    async def read(job_ids: Sequence[str]) -> Sequence[tuple[Job, str | None]]:
        query(f"DELETE FROM cache_jobs WHERE id = '{job_ids[0]}'")
        return await CountingStore.read(counting, job_ids)

    monkeypatch.setattr(counting, "read", read)
    assert [job["totalFiles"] for job in await seen(JobPages(counting))] == [0]


async def test_sizes_that_no_row_keeps_are_summed_up_anew(
    counting: CountingStore, query: Query
) -> None:
    job = await create_listed(counting, 3)
    query(f"UPDATE cache_jobs SET status = 'running', completed_files = 1 WHERE id = '{job.id}'")
    pages = JobPages(counting)
    await seen(pages)
    await seen(pages)
    assert counting.readings == [[job.id], [job.id]]


async def test_memory_is_bounded_in_jobs_and_in_bytes(
    counting: CountingStore, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_pages, "REMEMBERED_JOBS", 4)
    insert_jobs(query, ["pending"] * 6)
    error = f"repeat('x', {REMEMBERED_BYTES})"
    query(f"UPDATE cache_jobs SET error_message = {error} WHERE total_files = 0")
    pages = JobPages(counting)
    first = await seen(pages)
    assert await seen(pages) == first
    assert len(counting.readings[1]) == 2, "four of six are remembered, the long one is not"
