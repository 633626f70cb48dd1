"""Job events survive the loss of the listening connection."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

import pytest

from gateway.app import create_app
from gateway.database.migrations import migrate
from gateway.events.hub import Event, Hub
from gateway.events.job_publisher import JobEventPublisher
from gateway.job import JOBS_CHANNEL, Job, JobStatus, Progress
from gateway.metrics.latest import Metrics
from gateway.monitors import job_events
from gateway.settings import Settings
from support.database import ROLE, change, make_settings, wait_until_ready
from support.embedded_postgres_tools import Make
from support.index_rows import change_job, make_job, run
from support.job_event_faults import KILL, notify
from support.stream_kit import PATIENCE, Listener, listening


@pytest.fixture
async def listener(api: Any) -> AsyncIterator[Listener]:
    """Subscribed to all jobs."""
    async with listening(api) as listener:
        await listener.subscribe(channel="jobs")
        yield listener


async def test_changes_during_an_outage_are_published_once_and_in_order(
    listener: Listener, database_settings: Settings, deafness: asyncio.Event
) -> None:
    settings = database_settings
    waiting, running, ending, deleted = (make_job(settings, total_files=4) for _ in range(4))
    change_job(settings, running, status="running", completed_files=1)
    await listener.next_of("job-started")
    for job_id in (waiting, ending, deleted):
        assert listener.events_of(job_id) == ["job-created"]
    run(settings, KILL)
    ended = {"completed": ending, "failed": make_job(settings), "cancelled": make_job(settings)}
    change_job(settings, running, completed_files=3)
    change_job(settings, waiting, status="running")
    for status, job_id in ended.items():
        change_job(settings, job_id, status=status, completed_at="now")
    run(settings, "DELETE FROM cache_jobs WHERE id = %s::uuid", deleted)
    fleeting = make_job(settings)
    run(settings, "DELETE FROM cache_jobs WHERE id = %s::uuid", fleeting)
    created = make_job(settings)
    deafness.set()
    while not listener.events_of(created):
        await listener.next()
    last = make_job(settings)
    while not listener.events_of(last):
        await listener.next()
    await listener.sync()
    expected = {
        waiting: ["job-created", "job-started"],
        running: ["job-created", "job-started", "job-progress"],
        ending: ["job-created", "job-started", "job-completed"],
        ended["failed"]: ["job-created", "job-started", "job-failed"],
        ended["cancelled"]: ["job-created", "job-cancelled"],
        deleted: ["job-created"],
        fleeting: [],
        created: ["job-created"],
        last: ["job-created"],
    }
    assert {job_id: listener.events_of(job_id) for job_id in expected} == expected
    assert listener.percentages(running) == sorted(listener.percentages(running))


async def test_an_end_beyond_the_recent_jobs_is_published(
    listener: Listener,
    database_settings: Settings,
    deafness: asyncio.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(job_events, "RECENT_ENDS", 1)
    jobs = [make_job(database_settings) for _ in range(4)]
    for _ in jobs:
        await listener.next_of("job-created")
    run(database_settings, KILL)
    for job_id in jobs:
        change_job(database_settings, job_id, status="completed", completed_at="now")
    deafness.set()
    for _ in jobs:
        await listener.next_of("job-completed")
    ends = {m["jobId"] for m in listener.seen if m["type"] == "job-completed"}
    assert ends == set(jobs)


async def test_events_survive_repeated_loss_of_the_connection(
    listener: Listener, database_settings: Settings
) -> None:
    jobs = [make_job(database_settings, total_files=50) for _ in range(10)]

    def work() -> None:
        for done in range(0, 51, 2):
            for job_id in jobs:
                end = "completed" if done == 50 else "running"
                change_job(database_settings, job_id, status=end, completed_files=done)
            if done % 10 == 0:
                run(database_settings, KILL)

    working = asyncio.ensure_future(asyncio.to_thread(work))
    while any("job-completed" not in listener.events_of(job_id) for job_id in jobs):
        await listener.next()
    await working
    for job_id in jobs:
        events = listener.events_of(job_id)
        once = [kind for kind in events if kind != "job-progress"]
        assert once == ["job-created", "job-started", "job-completed"]
        assert events[-1] == "job-completed"
        steps = listener.percentages(job_id)
        assert steps == sorted(steps)
        progress = [m for m in listener.seen if m.get("jobId") == job_id]
        done = [m["progress"]["files"]["completed"] for m in progress if m["type"][4:5] == "p"]
        assert len(set(done)) == len(done)


async def test_a_stale_notification_is_not_published(
    listener: Listener, api: Any, database_settings: Settings
) -> None:
    """It waited while the table was read after a reconnect."""
    job_id = make_job(database_settings, total_files=4)
    for done in (1, 2, 3):
        change_job(database_settings, job_id, status="running", completed_files=done)
    change_job(database_settings, job_id, status="completed", completed_files=4)
    await listener.next_of("job-completed")
    before = len(listener.seen)
    for status, previous, done in (
        ("pending", None, 0),
        ("running", "pending", 1),
        ("running", "running", 3),
        ("completed", "running", 4),
    ):
        counters = {"completedFiles": done, "totalFiles": 4, "failedFiles": 0}
        sizes = dict.fromkeys(("totalBytes", "completedBytes", "failedBytes"), 0)
        states = {"id": job_id, "status": status, "previousStatus": previous}
        notify(database_settings, JOBS_CHANNEL, json.dumps({**states, **counters, **sizes}))
    await until_published(listener, database_settings)
    assert [m["jobId"] for m in listener.seen[before:] if "jobId" in m].count(job_id) == 0


async def until_published(listener: Listener, settings: Settings) -> None:
    """Wait until all earlier notifications are published."""
    job_id = make_job(settings)
    while job_id not in {m.get("jobId") for m in listener.seen}:
        await listener.next()


@pytest.mark.parametrize("channel", ["teamcache_gateway_jobs", "teamcache_gateway_files"])
async def test_invalid_notifications_are_ignored(
    listener: Listener, database_settings: Settings, caplog: pytest.LogCaptureFixture, channel: str
) -> None:
    job_id = make_job(database_settings, status="running", total_files=2)
    await listener.subscribe(channel="job", jobId=job_id, files=True)
    good: dict[str, Any] = {"id": job_id, "status": "running", "previousStatus": "running"}
    names = ("totalFiles", "completedFiles", "failedFiles")
    good |= dict.fromkeys((*names, "totalBytes", "completedBytes", "failedBytes"), 1)
    wrong = [
        {"id": "x' OR 1=1"},
        {"id": None},
        {"id": {}},
        {"status": "finished"},
        {"status": ["running"]},
        {"previousStatus": 7},
        {"completedFiles": "1"},
        {"completedFiles": [1]},
        {"completedFiles": 1.5},
        {"completedBytes": 10**18 * 9},
    ]
    files = [{"items": "abc"}, {"items": [None]}, {"items": ["x"]}, {"items": 5}, {"jobId": 1}]
    payloads = [
        *("", "x", "[]", "null", "{}", "5", '"\\ud800"', "[" * 7000),
        *(json.dumps(good | change) for change in wrong),
        *(json.dumps({"jobId": job_id, "items": [1]} | change) for change in files),
    ]
    for payload in payloads:
        notify(database_settings, channel, payload)
    # A false end is checked against the table.
    notify(database_settings, JOBS_CHANNEL, json.dumps(good | {"status": "completed"}))
    await until_published(listener, database_settings)
    assert set(listener.events_of(job_id)) <= {"job-created", "job-started"}
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING and r.exc_info]
    assert "job-events" not in "".join(
        r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING
    )


async def test_a_failed_read_is_logged_and_the_event_published_later(
    listener: Listener, database_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """If it counted as an invalid notification, the job's end would be lost."""
    job_id = make_job(database_settings, status="running", total_files=1)
    run(
        database_settings,
        "BEGIN;"
        " UPDATE cache_jobs SET status = 'completed', completed_files = 1, completed_at = now();"
        " ALTER TABLE cache_jobs RENAME TO elsewhere;"
        " COMMIT",
    )
    async with asyncio.timeout(PATIENCE):
        while not [it for it in caplog.records if it.exc_info and "job-events" in it.getMessage()]:
            await asyncio.sleep(0.02)
    run(database_settings, "ALTER TABLE elsewhere RENAME TO cache_jobs")
    while "job-completed" not in listener.events_of(job_id):
        await listener.next()


async def test_fifty_listeners_get_the_next_jobs_events_after_postgresql_restarted(
    make_server: Make, aiohttp_client: Any
) -> None:
    server = make_server(fresh=True, database="teamcache_db", user=ROLE)
    server.start()
    settings = make_settings(server, "teamcache_db")
    await migrate(settings)
    api = await aiohttp_client(create_app(change(settings, {"poll_limit_per_minute": 0})))
    api.session.headers["X-API-Key"] = settings.api_gateway_key.get_secret_value()
    await wait_until_ready(api)
    job_id = make_job(settings, status="running", total_files=2)
    async with AsyncExitStack() as stack:
        listeners = [await stack.enter_async_context(listening(api)) for _ in range(50)]
        for number, listener in enumerate(listeners):
            one = {"channel": "job", "jobId": job_id}
            await listener.subscribe(**(one if number % 2 else {"channel": "jobs"}))
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        assert (server.host, server.port) == (settings.db_host, settings.db_port)
        change_job(settings, job_id, status="completed", completed_files=2, completed_at="now")
        await asyncio.gather(*(listener.next_of("job-completed") for listener in listeners))
        new = make_job(settings)
        await asyncio.gather(*(listener.next_of("job-created") for listener in listeners[::2]))
    assert all(listener.events_of(new) == ["job-created"] for listener in listeners[::2])
    received = [listener.events_of(job_id) for listener in listeners]
    assert all(
        events[-1] == "job-completed" and events.count("job-completed") == 1 for events in received
    )


class Recorder:
    def __init__(self) -> None:
        self.received: list[str] = []

    def offer(self, event: Event) -> None:
        self.received.append(event.type)


def test_active_jobs_are_never_forgotten() -> None:
    hub, recorder = Hub(), Recorder()
    publisher = JobEventPublisher(hub, Metrics("us-east-1"))
    some = Progress(10, 1, 0, 0, 0, 0)
    old = str(uuid.uuid4())
    publisher.publish(old, JobStatus.RUNNING, some, None)
    for number in range(25_000):
        publisher.publish(str(number), JobStatus.COMPLETED, some, None)
    hub.subscribe(recorder, "jobs")
    publisher.publish(old, JobStatus.RUNNING, Progress(10, 2, 0, 0, 0, 0), None)
    assert recorder.received == ["job-progress"]
    assert len(publisher._ended) < 25_000


def job(done: int, status: JobStatus = JobStatus.RUNNING) -> Job:
    now = datetime(2026, 1, 1)  # noqa: DTZ001 - as the database keeps them
    return Job("1", status, Progress(9, done, 0, 0, 0, 0), now, now, None, None, None)


def test_nothing_older_is_published_after_a_snapshot() -> None:
    hub, recorder = Hub(), Recorder()
    hub.subscribe(recorder, "jobs")
    publisher = JobEventPublisher(hub, Metrics("us-east-1"))
    publisher.publish_authoritative(job(1))
    publisher.note_snapshot(job(4))
    count = len(recorder.received)
    publisher.publish("1", JobStatus.RUNNING, job(3).progress, None)
    publisher.publish_authoritative(job(2))
    assert len(recorder.received) == count
    publisher.publish("1", JobStatus.RUNNING, job(4).progress, None)
    assert recorder.received[count:] == ["job-progress"]
    publisher.note_snapshot(job(3))
    publisher.publish("1", JobStatus.COMPLETED, job(9).progress, None)
    assert recorder.received[-1] == "job-completed"


def test_nothing_is_published_twice_or_out_of_order() -> None:
    hub, recorder = Hub(), Recorder()
    publisher = JobEventPublisher(hub, Metrics("us-east-1"))
    publisher.publish_authoritative(job(9, JobStatus.COMPLETED))
    hub.subscribe(recorder, "jobs")
    for done in (1, 9):
        publisher.publish("1", JobStatus.RUNNING, job(done).progress, None)
    publisher.publish("1", JobStatus.COMPLETED, job(9).progress, None)
    publisher.publish_authoritative(job(9, JobStatus.COMPLETED))
    assert recorder.received == []


def test_a_change_of_an_unknown_job_does_not_count_as_its_creation() -> None:
    hub, recorder = Hub(), Recorder()
    metrics = Metrics("us-east-1")
    hub.subscribe(recorder, "jobs")
    progress = Progress(10, 9, 0, 0, 0, 0)
    JobEventPublisher(hub, metrics).publish(
        "1", JobStatus.RUNNING, progress, None, JobStatus.RUNNING
    )
    assert (recorder.received, metrics.warmed.files) == (["job-progress"], 0)
