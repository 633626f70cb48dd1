"""Publishes every change of a job, whichever worker made it: LISTEN → hub."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final, NamedTuple

import orjson

from gateway.database import Database
from gateway.database.readiness import Readiness
from gateway.errors import DatabaseUnavailable, InvalidRequest, JobNotFound, StatementFailed
from gateway.events.hub import Event, Hub, files_topic
from gateway.events.job_publisher import JobEventPublisher
from gateway.job import JOBS_CHANNEL, Job, JobStatus, Progress, parse_job_id, version_of
from gateway.jobs.cache import JobCache
from gateway.jobs.store import JobStore
from gateway.monitors.job_lookups import DebouncedLookups
from gateway.monitors.loop import Monitor
from gateway.paths import Filespaces
from gateway.runtime.tasks import cancel_and_wait
from gateway.schemas.messages import EventsDropped
from gateway.schemas.serializers import file_message

log = logging.getLogger(__name__)

FILES_CHANNEL: Final = "teamcache_gateway_files"
# The number of ended jobs read when listening starts.
RECENT_ENDS: Final = 10_000
# Events published in one turn of the loop: uvloop writes at the end of a turn, and a client that
# gets more than its buffer holds would seem to be slow.
EVENTS_PER_TURN: Final = 50

# What reading an invalid notification may raise.
UNREADABLE: Final = (ValueError, TypeError, KeyError, InvalidRequest)


class _JobChange(NamedTuple):
    """A notification of a job's change."""

    job_id: str
    status: JobStatus
    previous: JobStatus | None
    progress: Progress
    submitted_by: str | None


class _FileEnds(NamedTuple):
    """A notification of a job's files: the ids of items that ended."""

    job_id: str
    items: Sequence[int]


class _Step(NamedTuple):
    """A notified change of a job's status."""

    status: JobStatus
    previous: JobStatus | None


class JobEventsMonitor(Monitor):
    """Publishes job events, and those missed while the connection was lost."""

    name = "job-events"
    interval = 1.0

    def __init__(
        self,
        database: Database,
        job_store: JobStore,
        publisher: JobEventPublisher,
        cache: JobCache,
        hub: Hub,
        filespaces: Filespaces,
        readiness: Readiness,
    ) -> None:
        super().__init__()
        self._database = database
        self._job_store = job_store
        self._publisher = publisher
        self._cache = cache
        self._hub = hub
        self._filespaces = filespaces
        self._readiness = readiness
        self._lookups = DebouncedLookups(self._publish_looked_up)

    async def check_once(self) -> bool:
        """Listen until the connection is lost."""
        await self._readiness.wait()
        # Without notifications, the probes of the connection count as signs of life.
        ok = self.heartbeat.ok
        listening = self._database.listen(JOBS_CHANNEL, FILES_CHANNEL, on_probe=ok)
        lookups = asyncio.create_task(self._lookups.run(), name=f"monitor {self.name}, look-ups")
        try:
            async with aclosing(listening) as notifications:
                async for channel, payload in notifications:
                    await (self._handle(channel, payload) if channel else self._begin())
                    ok()
        finally:
            self._cache.doubt()
            await cancel_and_wait(lookups)
        return False

    async def _begin(self) -> None:
        self._cache.trust()
        await self._catch_up()

    async def _handle(self, channel: str, payload: str) -> None:
        """Handle a notification. Any database role may send one: invalid ones are ignored."""
        try:
            change = _read(channel, orjson.loads(payload))
        except UNREADABLE as error:
            log.debug("ignored a notification on %s: %r", channel, error)
            return
        if isinstance(change, _JobChange):
            await self._handle_job(change)
        else:
            await self._handle_files(change)

    async def _catch_up(self) -> None:
        """Publish what changed while nobody listened; at the first start only remember it."""
        self._publisher.forget_snapshots()
        jobs = await self._job_store.recent(RECENT_ENDS)
        if not self._publisher.has_begun.is_set():
            for job in jobs:
                self._publisher.remember(job.id, job.status, job.progress)
            self._publisher.has_begun.set()
            return
        missing = set(self._publisher.active).difference(job.id for job in jobs)
        for number, job in enumerate(jobs):
            if self._has_changed(job):
                self._publish_missed_files(job)
                await self._publish_stored(job.id)
            if number % EVENTS_PER_TURN == 0:
                await asyncio.sleep(0)
        for job_id in missing:
            await self._publish_stored(job_id)

    def _has_changed(self, job: Job) -> bool:
        """Whether the job changed since it was last published, but for sizes that it lacks."""
        last = self._publisher.last_published(job.id)
        if last is None or last.status is not job.status:
            return True
        parts = 2 if job.progress.lacks_sizes else 3
        return last.version[:parts] != job.version[:parts]

    def _publish_missed_files(self, job: Job) -> None:
        """Publish how many of a job's files ended while nobody listened."""
        last = self._publisher.last_published(job.id)
        if last is not None and (missed := job.version[1] - last.version[1]) > 0:
            self._publish_dropped_files(job.id, missed)

    def _publish_dropped_files(self, job_id: str, count: int) -> None:
        topic = files_topic(job_id)
        if self._hub.has_subscribers(topic):
            message: EventsDropped = {"type": "events-dropped", "jobId": job_id, "count": count}
            self._hub.publish(Event(message, topics=(topic,), job_id=job_id, must_deliver=True))

    async def _handle_job(self, change: _JobChange) -> None:
        job_id, status, previous, progress, submitted_by = change
        error = None
        self._cache.take(job_id, status, progress)
        if _is_regression(previous, status):
            await self._publish_stored(job_id)
            return
        if self._publisher.is_stale(job_id, version_of(status, progress)):
            return
        if status.has_ended:
            # If the database is unavailable, the end is published when listening starts again. If
            # the job was deleted, the notification is all there is.
            with suppress(JobNotFound):
                job = await self._job_store.get(job_id)
                status, progress, error = job.status, job.progress, job.error
                submitted_by = job.submitted_by
        elif progress.lacks_sizes:
            self._lookups.schedule(job_id, _Step(status, previous))
            return
        self._publisher.publish(job_id, status, progress, error, previous, submitted_by)

    async def _publish_looked_up(self, job_id: str, step: _Step) -> bool:
        """Publish the progress of a job without sizes; False if it cannot be read now."""
        try:
            job = await self._job_store.get(job_id)
        except DatabaseUnavailable:
            return False
        except JobNotFound:
            return True
        except StatementFailed:
            log.exception("%s: job %s cannot be read", self.name, job_id)
            return True
        # If the status has changed since, another notification will follow.
        if job.status is step.status:
            self._publisher.publish(
                job_id, step.status, job.progress, None, step.previous, job.submitted_by
            )
        return True

    async def _publish_stored(self, job_id: str) -> None:
        """Publish a job as the table has it."""
        try:
            job = await self._job_store.get(job_id)
        except JobNotFound:
            self._publisher.forget(job_id)
        else:
            self._publisher.publish_authoritative(job)

    async def _handle_files(self, change: _FileEnds) -> None:
        job_id, items = change
        topic = files_topic(job_id)
        if not self._hub.has_subscribers(topic):
            return
        try:
            files = await self._job_store.files_by_id(items)
        except DatabaseUnavailable:
            self._publish_dropped_files(job_id, len(items))
            return
        for number, file in enumerate(files):
            if number % EVENTS_PER_TURN == 0:
                await asyncio.sleep(0)
            path = self._filespaces.relative(file.path)
            failed = file.error is not None
            error = self._filespaces.relative_in(file.error) if failed else None
            message = file_message(job_id, path, size=file.size, error=error)
            self._hub.publish(Event(message, topics=(topic,), job_id=job_id, must_deliver=failed))


def _read(channel: str, change: object) -> _JobChange | _FileEnds:
    """Parse a notification. Raises one of `UNREADABLE`."""
    if not isinstance(change, dict):
        raise TypeError("no JSON object")
    return _read_job(change) if channel == JOBS_CHANNEL else _read_files(change)


def _read_job(change: Mapping[str, Any]) -> _JobChange:
    previous = change.get("previousStatus")
    return _JobChange(
        parse_job_id(change["id"]),
        JobStatus(change["status"]),
        JobStatus(previous) if previous else None,
        _read_progress(change),
        _name(change.get("submittedBy")),
    )


def _read_files(change: Mapping[str, Any]) -> _FileEnds:
    return _FileEnds(parse_job_id(change["jobId"]), [_number(item) for item in change["items"]])


def _read_progress(change: Mapping[str, Any]) -> Progress:
    return Progress(
        total_files=_number(change["totalFiles"]),
        completed_files=_number(change["completedFiles"]),
        failed_files=_number(change["failedFiles"]),
        total_bytes=_number(change["totalBytes"]),
        completed_bytes=_number(change["completedBytes"]),
        failed_bytes=_number(change["failedBytes"]),
        is_over=JobStatus(change["status"]).has_ended,
    )


def _number(value: object) -> int:
    """A counter of the table, 0 for null. Raises `TypeError` or `ValueError`."""
    if value is None:
        return 0
    if not isinstance(value, int):
        raise TypeError("not a number")
    if abs(value) >= 1 << 62:
        raise ValueError("no counter is that large")
    return value


def _name(value: object) -> str | None:
    """The name of a key, or None. Raises `TypeError`."""
    if value is not None and not isinstance(value, str):
        raise TypeError("not a name")
    return value


def _is_regression(previous: JobStatus | None, status: JobStatus) -> bool:
    """Whether the version may have fallen: the job was paused, resumed, or set back."""
    if previous is None or previous is status:
        return False
    return (
        status in (JobStatus.PENDING, JobStatus.PAUSED)
        or previous is JobStatus.PAUSED
        or previous.has_ended
    )
