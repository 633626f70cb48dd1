"""The trigger that announces what happens to jobs, whichever program did it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import pytest

from gateway.database import Database
from gateway.job import CreatedJob
from gateway.jobs.store import JobRequest, JobStore
from gateway.settings import Settings
from support.manager_schema import connect_as

CHANNEL = "teamcache_gateway_jobs"


class Listener:
    """A backend of its own: what was committed before `drain` is what it has heard."""

    def __init__(self, settings: Settings) -> None:
        self.connection = connect_as(settings, settings.db_user)
        self._cursor = self.connection.cursor()
        self._cursor.execute(f"LISTEN {CHANNEL}")

    def run(self, statement: str) -> list[dict[str, Any]]:
        self._cursor.execute(statement)
        return self.drain()

    def drain(self) -> list[dict[str, Any]]:
        self._cursor.execute("SELECT 1")  # a round trip delivers what is queued
        heard = [notice.payload for notice in self.connection.notifies]
        self.connection.notifies.clear()
        assert all(len(payload.encode()) < 1000 for payload in heard)
        return [json.loads(payload) for payload in heard]


@pytest.fixture
async def store(database_settings: Settings) -> AsyncIterator[JobStore]:
    async with Database(database_settings) as database:
        yield JobStore(database, 60)


@pytest.fixture
async def listener(database_settings: Settings) -> AsyncIterator[Listener]:
    heard = Listener(database_settings)
    with closing(heard.connection):
        yield heard


async def create(store: JobStore, count: int = 2) -> CreatedJob:
    paths = [f"/media/lucidlink-1/{number:08}.mov" for number in range(count)]
    return await store.create(JobRequest(listed_files=paths, paths=paths, sizes=[5] * count))


async def test_a_new_job_is_announced_once_with_its_totals(
    store: JobStore, listener: Listener
) -> None:
    job = await create(store)
    assert listener.drain() == [
        {
            "id": job.id,
            "status": "pending",
            "previousStatus": None,
            "submittedBy": None,
            "totalFiles": 2,
            "completedFiles": 0,
            "failedFiles": 0,
            "totalBytes": 10,
            "completedBytes": 0,
            "failedBytes": 0,
        }
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("status = 'running'", {"status": "running", "previousStatus": "pending"}),
        ("completed_files = 1", {"completedFiles": 1, "previousStatus": "pending"}),
        ("failed_files = 1", {"failedFiles": 1}),
        ("completed_size_bytes = 5", {"completedBytes": 5}),
        ("status = 'failed', error_message = repeat('x', 20000)", {"status": "failed"}),
    ],
)
async def test_a_change_of_state_or_counters_is_announced(
    store: JobStore, listener: Listener, change: str, told: dict[str, Any]
) -> None:
    job = await create(store)
    listener.drain()
    [heard] = listener.run(f"UPDATE cache_jobs SET {change} WHERE id = '{job.id}'")
    assert told.items() <= heard.items()


@pytest.mark.parametrize(
    "change", ["worker_id = 'w'", "status = status", "file_paths = '{}'", "error_message = 'x'"]
)
async def test_other_changes_are_not_announced(
    store: JobStore, listener: Listener, change: str
) -> None:
    job = await create(store)
    listener.drain()
    assert listener.run(f"UPDATE cache_jobs SET {change} WHERE id = '{job.id}'") == []


async def test_a_huge_job_is_announced_by_few_bytes_and_its_items_not_at_all(
    store: JobStore, listener: Listener
) -> None:
    job = await create(store, 100_000)
    [heard] = listener.drain()
    assert heard["totalFiles"] == 100_000
    assert (
        listener.run(f"UPDATE cache_job_items SET status = 'running' WHERE job_id = '{job.id}'")
        == []
    )
    [heard] = listener.run(f"UPDATE cache_jobs SET completed_files = 1 WHERE id = '{job.id}'")
    assert heard["completedFiles"] == 1


async def test_a_cancel_is_announced_and_what_the_guard_refuses_is_not(
    store: JobStore, listener: Listener
) -> None:
    job = await create(store)
    await store.cancel(job.id)
    assert [heard["status"] for heard in listener.drain()] == ["pending", "cancelled"]
    refused = f"UPDATE cache_jobs SET status = 'running', completed_files = 9 WHERE id = '{job.id}'"
    assert listener.run(refused) == []
    await store.cancel_items(job.id)
    assert listener.drain() == []


async def test_a_transaction_that_is_rolled_back_announces_nothing(
    store: JobStore, listener: Listener
) -> None:
    await create(store)
    listener.drain()
    assert listener.run("BEGIN; UPDATE cache_jobs SET status = 'running'; ROLLBACK") == []
