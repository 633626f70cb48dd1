"""Polls from memory: never staler than a second, never older than what the poller knows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.errors import JobNotFound
from gateway.formatting import utc_now
from gateway.http import app_keys
from gateway.job import Job, JobStatus, Progress
from gateway.jobs.cache import FRESH_SECONDS, REMEMBERED_JOBS, JobCache, KnownJob
from gateway.metrics.latest import Throughput
from gateway.settings import Settings
from support.index_rows import add_files, run

JOBS = "/api/v1/cache/jobs"
ID = "6bb4629b-1487-477c-96fe-b762d82a099b"
AT_FIRST = Progress(10, 2, 0, 1000, 200, 0)
FURTHER = Progress(10, 5, 0, 1000, 500, 0)


class Table:
    """A table with one job, whose readings are counted and can be held up."""

    def __init__(self) -> None:
        self.job = Job(ID, JobStatus.RUNNING, AT_FIRST, utc_now(), None, None, None, None, None)
        self.readings = 0
        self.open = asyncio.Event()
        self.open.set()
        self.now = 100.0

    async def read(self, job_id: str) -> Job:
        self.readings += 1
        read = replace(self.job, id=job_id)
        await self.open.wait()
        return read

    def clock(self) -> float:
        return self.now


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def cache(table: Table) -> JobCache:
    cache = JobCache(table.read, table.clock)
    cache.trust()
    return cache


@asynccontextmanager
async def held_up(table: Table, cache: JobCache) -> AsyncIterator[asyncio.Task[KnownJob]]:
    """A reading that has seen the table, and is not through before the end of the context."""
    table.open.clear()
    before = table.readings
    task = asyncio.create_task(cache.get(ID))
    while table.readings == before:
        await asyncio.sleep(0)
    yield task
    table.open.set()


async def test_a_job_is_read_once_a_second(cache: JobCache, table: Table) -> None:
    first = await cache.get(ID)
    table.now += FRESH_SECONDS * 0.99
    assert await cache.get(ID) is first
    table.now += FRESH_SECONDS * 0.02
    assert await cache.get(ID) is not first
    assert table.readings == 2


async def test_a_slow_reading_makes_a_job_no_younger(cache: JobCache, table: Table) -> None:
    async with held_up(table, cache) as task:
        table.now += FRESH_SECONDS
    await task
    await cache.get(ID)
    assert table.readings == 2


async def test_what_is_announced_is_shown_without_reading(cache: JobCache, table: Table) -> None:
    before = await cache.get(ID)
    cache.take(ID, JobStatus.RUNNING, FURTHER)
    after = await cache.get(ID)
    assert after.job.progress == FURTHER
    assert after.tag != before.tag
    assert table.readings == 1


async def test_an_announcement_does_not_keep_a_job_for_longer(
    cache: JobCache, table: Table
) -> None:
    await cache.get(ID)
    table.now += FRESH_SECONDS / 2
    cache.take(ID, JobStatus.RUNNING, FURTHER)
    table.now += FRESH_SECONDS / 2
    await cache.get(ID)
    assert table.readings == 2


async def test_progress_never_falls_by_a_late_announcement(cache: JobCache, table: Table) -> None:
    table.job = replace(table.job, progress=FURTHER)
    await cache.get(ID)
    cache.take(ID, JobStatus.RUNNING, AT_FIRST)
    assert (await cache.get(ID)).job.progress == FURTHER


@pytest.mark.parametrize(
    ("status", "progress"),
    [
        (JobStatus.COMPLETED, replace(FURTHER, completed_files=10, completed_bytes=1000)),
        (JobStatus.CANCELLED, FURTHER),
        (JobStatus.RUNNING, replace(FURTHER, completed_bytes=0)),
    ],
    ids=["ended", "cancelled", "without sizes"],
)
async def test_what_an_announcement_does_not_tell_is_read(
    cache: JobCache, table: Table, status: JobStatus, progress: Progress
) -> None:
    await cache.get(ID)
    table.job = replace(table.job, status=status, error="as the table says")
    cache.take(ID, status, progress)
    assert (await cache.get(ID)).job.error == "as the table says"


async def test_while_announcements_are_in_doubt_every_poll_reads(
    cache: JobCache, table: Table
) -> None:
    await cache.get(ID)
    cache.doubt()
    for _ in range(3):
        await cache.get(ID)
    assert table.readings == 4
    cache.trust()
    await cache.get(ID)
    await cache.get(ID)
    assert table.readings == 5


async def test_what_was_being_read_when_doubt_arose_is_not_kept(
    cache: JobCache, table: Table
) -> None:
    async with held_up(table, cache) as task:
        cache.doubt()
        cache.trust()
    await task
    await cache.get(ID)
    assert table.readings == 2


@pytest.mark.parametrize("change", ["dropped", "announced"])
async def test_a_reading_from_before_a_change_is_not_kept(
    cache: JobCache, table: Table, change: str
) -> None:
    async with held_up(table, cache) as task:
        table.job = replace(table.job, progress=FURTHER)
        if change == "dropped":
            cache.drop(ID)
        else:
            cache.take(ID, JobStatus.RUNNING, FURTHER)
        later = asyncio.ensure_future(cache.get(ID))
        await asyncio.sleep(0)
    assert (await task).job.progress == AT_FIRST
    assert (await later).job.progress == FURTHER
    assert (await cache.get(ID)).job.progress == FURTHER


async def test_many_who_ask_at_once_cause_one_reading(cache: JobCache, table: Table) -> None:
    async with held_up(table, cache) as task:
        others = [asyncio.ensure_future(cache.get(ID)) for _ in range(50)]
        await asyncio.sleep(0)
    first = await task
    assert all(known is first for known in await asyncio.gather(*others))
    assert table.readings == 1


async def test_a_reading_goes_on_for_the_others_if_the_first_gives_up(
    cache: JobCache, table: Table
) -> None:
    async with held_up(table, cache) as task:
        other = asyncio.ensure_future(cache.get(ID))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
    assert (await other).job.id == ID
    assert table.readings == 1


async def test_in_doubt_many_who_wait_share_one_reading_that_begins_after_they_asked(
    cache: JobCache, table: Table
) -> None:
    cache.doubt()
    async with held_up(table, cache) as task:
        table.job = replace(table.job, progress=FURTHER)
        others = [asyncio.ensure_future(cache.get(ID)) for _ in range(50)]
        await asyncio.sleep(0)
    assert (await task).job.progress == AT_FIRST
    assert {known.job.progress for known in await asyncio.gather(*others)} == {FURTHER}
    assert table.readings == 2


async def test_a_job_that_is_not_there_is_looked_for_each_time() -> None:
    readings = 0

    async def read(_job_id: str) -> Job:
        nonlocal readings
        readings += 1
        raise JobNotFound

    cache = JobCache(read)
    cache.trust()
    for _ in range(2):
        with pytest.raises(JobNotFound):
            await cache.get(ID)
    assert readings == 2


async def test_jobs_that_nobody_asks_for_any_more_are_let_go(cache: JobCache, table: Table) -> None:
    for number in range(100):
        await cache.get(str(number))
    table.now += FRESH_SECONDS
    await cache.get("another")
    assert list(cache._known) == ["another"]


async def test_memory_is_bounded(cache: JobCache, table: Table) -> None:
    for number in range(REMEMBERED_JOBS + 100):
        await cache.get(str(number))
    assert len(cache._known) == REMEMBERED_JOBS
    assert not cache._unchanged
    await cache.get(str(REMEMBERED_JOBS + 99))
    assert table.readings == REMEMBERED_JOBS + 100


# Over HTTP


async def show(api: Any, job_id: str) -> Any:
    return (await (await api.get(f"{JOBS}/{job_id}")).json())["job"]


async def submit(api: Any, settings: Settings) -> str:
    add_files(settings, {"a.mov": 1})
    job_id: str = (await (await api.post(JOBS, json={"files": ["a.mov"]})).json())["jobId"]
    return job_id


async def test_a_cancelled_job_is_shown_cancelled_at_once(
    api: Any, database_settings: Settings
) -> None:
    job_id = await submit(api, database_settings)
    assert (await show(api, job_id))["status"] == "pending"
    assert (await api.delete(f"{JOBS}/{job_id}")).status == 200
    assert (await show(api, job_id))["status"] == "cancelled"


async def test_what_another_program_writes_is_shown_within_a_second_or_so(
    api: Any, database_settings: Settings
) -> None:
    job_id = await submit(api, database_settings)
    before = await show(api, job_id)
    # No column that is announced: only the second bounds how long the old one is shown.
    run(database_settings, "UPDATE cache_jobs SET error_message = 'disk' WHERE id = %s", job_id)
    async with asyncio.timeout(30):
        while (after := await show(api, job_id)) == before:
            await asyncio.sleep(0.05)
    assert after["error"] == "disk"


async def test_polls_are_answered_without_asking_the_database(
    api: Any, database_settings: Settings
) -> None:
    job_id = await submit(api, database_settings)
    app = api.app
    read = app[app_keys.JOB_STORE].get
    readings = 0

    async def counted(wanted: str) -> Job:
        nonlocal readings
        readings += 1
        return await read(wanted)

    cache = app[app_keys.JOB_CACHE]
    cache._read = counted
    began = time.monotonic()
    for _ in range(200):
        await show(api, job_id)
    assert readings <= 2 + (time.monotonic() - began) / FRESH_SECONDS


async def test_an_answer_is_put_together_once_for_all_who_ask(cache: JobCache) -> None:
    first = (await cache.get(ID)).answer(None)
    assert (await cache.get(ID)).answer(None) is first


async def test_an_answer_follows_the_throughput_and_the_job(cache: JobCache, table: Table) -> None:
    known = await cache.get(ID)
    without, slow, fast = (
        orjson.loads(known.answer(throughput))["job"]
        for throughput in (None, Throughput(1.5, utc_now()), Throughput(2.5, utc_now()))
    )
    assert without["throughput"] is None
    assert (slow["throughput"]["mbps"], fast["throughput"]["mbps"]) == (1.5, 2.5)
    cache.take(ID, table.job.status, FURTHER)
    further = orjson.loads((await cache.get(ID)).answer(None))["job"]
    assert further["progress"]["files"]["completed"] == FURTHER.completed_files
