"""Jobs whose worker keeps no sizes, and file ends that could not be read: what is told of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.errors import DatabaseUnavailable
from gateway.http import app_keys
from gateway.monitors import job_lookups
from gateway.monitors.job_events import FILES_CHANNEL
from gateway.monitors.job_lookups import DebouncedLookups
from gateway.settings import Settings
from support.index_rows import change_job, make_job, run
from support.job_event_faults import KILL, notify
from support.stream_kit import Listener, listening

ITEMS = """
INSERT INTO cache_job_items (job_id, file_path, status, file_size_bytes)
SELECT %s::uuid, '/x/' || n, CASE WHEN n <= 5 THEN 'completed' ELSE 'pending' END, 10
FROM generate_series(1, 10) n
"""


@pytest.fixture
async def listener(api: Any) -> AsyncIterator[Listener]:
    async with listening(api) as listener:
        await listener.subscribe(channel="jobs")
        yield listener


@pytest.fixture
def fails(api: Any, monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What look-ups of a job raise, one after the other, before they work again."""
    store = api.server.app[app_keys.JOB_STORE]
    failures: list[BaseException] = []
    get = store.get

    async def failing(job_id: str) -> Any:
        if failures:
            raise failures.pop(0)
        return await get(job_id)

    monkeypatch.setattr(store, "get", failing)
    return failures


async def test_a_look_up_that_fails_never_makes_the_percentage_fall(
    listener: Listener, database_settings: Settings, fails: list[BaseException]
) -> None:
    settings = database_settings
    job_id = make_job(settings, status="running", total_files=10, total_size_bytes=100)
    run(settings, ITEMS, job_id)
    change_job(settings, job_id, completed_files=5)
    while 50 not in listener.percentages(job_id):
        await listener.next()
    fails += [DatabaseUnavailable(), DatabaseUnavailable()]
    change_job(settings, job_id, completed_files=6)
    while len(listener.percentages(job_id)) < 4:
        await listener.next()
    assert fails == []
    assert listener.percentages(job_id) == sorted(listener.percentages(job_id))


async def test_an_end_that_cannot_be_looked_up_is_told_when_the_database_is_back(
    listener: Listener, database_settings: Settings, fails: list[BaseException]
) -> None:
    job_id = make_job(database_settings, status="running")
    await listener.next_of("job-started")
    fails.append(DatabaseUnavailable())
    change_job(
        database_settings, job_id, status="completed", completed_files=1, error_message="so so"
    )
    assert (await listener.next_of("job-completed"))["error"] == "so so"


async def test_many_changes_of_a_job_are_looked_up_seldom_and_the_newest_is_told() -> None:
    told: list[tuple[str, int]] = []

    async def tell(job_id: str, change: int) -> bool:
        told.append((job_id, change))
        done.set()
        return True

    done, late = asyncio.Event(), DebouncedLookups(tell)
    running = asyncio.create_task(late.run())
    await asyncio.sleep(0)
    for number in range(100):
        late.schedule("a", number)
        late.schedule("b", -number)
    await done.wait()
    await asyncio.sleep(0)
    assert told == [("a", 99), ("b", -99)]
    running.cancel()


async def test_a_change_that_could_not_be_told_is_tried_again_unless_there_is_a_newer_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(job_lookups, "LOOK_UP_SECONDS", 0)
    outcomes: list[Any] = [RuntimeError("a bug"), False, False, True]
    told: list[int] = []
    done = asyncio.Event()

    async def tell(_job_id: str, change: int) -> bool:
        told.append(change)
        outcome = outcomes.pop(0)
        if len(told) == 3:
            late.schedule("a", 4)
        if not outcomes:
            done.set()
        if isinstance(outcome, Exception):
            raise outcome
        return bool(outcome)

    late = DebouncedLookups(tell)
    running = asyncio.create_task(late.run())
    await asyncio.sleep(0)
    late.schedule("a", 1)
    while not told:
        await asyncio.sleep(0)
    late.schedule("a", 2)
    async with asyncio.timeout(30):
        await done.wait()
    assert told == [1, 2, 2, 4]
    running.cancel()


async def test_files_that_cannot_be_read_are_counted_and_listening_goes_on(
    api: Any,
    database_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job_id = make_job(database_settings, status="running")

    async def away(_items: object) -> Any:
        raise DatabaseUnavailable

    monkeypatch.setattr(api.server.app[app_keys.JOB_STORE], "files_by_id", away)
    async with listening(api) as listener:
        await listener.subscribe(channel="job", jobId=job_id, files=True)
        notify(database_settings, FILES_CHANNEL, f'{{"jobId": "{job_id}", "items": [1, 2, 3]}}')
        dropped = await listener.next_of("events-dropped")
        assert (dropped["jobId"], dropped["count"]) == (job_id, 3)
        change_job(database_settings, job_id, status="cancelled")
        await listener.next_of("job-cancelled")
    assert "job-events" not in caplog.text


async def test_files_that_ended_while_nobody_listened_are_counted(
    api: Any,
    database_settings: Settings,
    deafness: asyncio.Event,
) -> None:
    job_id = make_job(database_settings, status="running", total_files=9)
    async with listening(api) as files, listening(api) as other:
        await files.subscribe(channel="job", jobId=job_id, files=True)
        await other.subscribe(channel="job", jobId=job_id)
        run(database_settings, KILL)
        change_job(database_settings, job_id, completed_files=3, failed_files=1)
        deafness.set()
        assert (await files.next_of("events-dropped"))["count"] == 4
        for listener in (files, other):
            await listener.next_of("job-progress")
        assert "events-dropped" not in [m["type"] for m in other.seen]


async def test_what_failed_was_not_warmed(
    listener: Listener, api: Any, database_settings: Settings
) -> None:
    job_id = make_job(database_settings, total_files=9, total_size_bytes=90)
    change = {"completed_files": 3, "failed_files": 2}
    sizes = {"completed_size_bytes": 30, "failed_size_bytes": 20}
    change_job(database_settings, job_id, status="running", **change, **sizes)
    await listener.next_of("job-started")
    warmed = api.server.app[app_keys.METRICS].warmed
    assert (warmed.files, warmed.bytes) == (3, 30)


async def test_where_nothing_happens_listening_is_alive_all_the_same(
    start_api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = await start_api()
    await api.server.app[app_keys.JOB_EVENTS].has_begun.wait()
    heartbeat = api.server.app[app_keys.PROMETHEUS].heartbeats["job-events"]
    beats = asyncio.Queue[None]()
    monkeypatch.setattr(heartbeat, "ok", lambda: beats.put_nowait(None))
    heartbeats = api.server.app[app_keys.PROMETHEUS].heartbeats
    # After a probe nothing would tell the connection that listens from the others.
    monkeypatch.setattr("gateway.database.database.LISTEN_PROBE_SECONDS", 0.01)
    run(api.server.app[app_keys.SETTINGS], KILL)
    async with asyncio.timeout(30):
        for _ in range(5):
            await beats.get()
    assert heartbeats["schema"].age is None
    assert heartbeats["schema"].is_healthy
