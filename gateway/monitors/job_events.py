"""Tells of every change of a job, whichever worker made it: LISTEN → hub."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

import orjson

from gateway.database import Database
from gateway.errors import DatabaseUnavailable, JobNotFound
from gateway.events import JOBS, Event, Hub, files_topic, job_topic
from gateway.job_store import JobStore
from gateway.jobs import Job, JobStatus, Progress, version_of
from gateway.metrics import Metrics
from gateway.monitors.loop import Monitor
from gateway.paths import Filespace
from gateway.readiness import Readiness
from gateway.wire import file_message, job_message

log = logging.getLogger(__name__)

JOBS_CHANNEL: Final = "teamcache_gateway_jobs"
FILES_CHANNEL: Final = "teamcache_gateway_files"
REMEMBERED_JOBS: Final = 10_000
ENDS: Final = ("job-completed", "job-failed", "job-cancelled")

State = tuple[JobStatus, tuple[int, int, int]]


class JobEventsMonitor(Monitor):
    """Publishes job events, and what was missed while the connection was away."""

    name = "job-events"
    interval = 1.0

    def __init__(
        self,
        database: Database,
        job_store: JobStore,
        metrics: Metrics,
        hub: Hub,
        filespace: Filespace,
        readiness: Readiness,
    ) -> None:
        super().__init__()
        self._metrics = metrics
        self._database = database
        self._job_store = job_store
        self._hub = hub
        self._filespace = filespace
        self._readiness = readiness
        self._known: OrderedDict[str, State] = OrderedDict()
        self._has_caught_up = False

    async def check_once(self) -> bool:
        """Listen until the connection is lost."""
        await self._readiness.wait()
        listening = self._database.listen(JOBS_CHANNEL, FILES_CHANNEL)
        async with aclosing(listening) as notifications:
            async for channel, payload in notifications:
                await self._take(channel, payload)
                self.pulse.beat()
        return False

    async def _take(self, channel: str, payload: str) -> None:
        if channel == JOBS_CHANNEL:
            await self._take_job(orjson.loads(payload))
        elif channel == FILES_CHANNEL:
            await self._take_files(orjson.loads(payload))
        else:
            await self._catch_up()

    async def _catch_up(self) -> None:
        """Tell what changed while nobody listened, by one query."""
        jobs = await self._job_store.recent(REMEMBERED_JOBS)
        for job in reversed(jobs):
            if self._has_caught_up:
                self._tell(job.id, job.status, job.progress, job.error)
            else:
                self._remember(job.id, job.status, job.progress)
        self._has_caught_up = True

    async def _take_job(self, change: Mapping[str, Any]) -> None:
        status = JobStatus(change["status"])
        progress = Progress(
            total_files=change["totalFiles"] or 0,
            completed_files=change["completedFiles"] or 0,
            failed_files=change["failedFiles"] or 0,
            total_bytes=change["totalBytes"] or 0,
            completed_bytes=change["completedBytes"] or 0,
            failed_bytes=change["failedBytes"] or 0,
        )
        error = None
        needs_more = status.has_ended or progress.lacks_sizes
        if needs_more and (job := await self._look_up(change["id"])):
            progress, error = job.progress, job.error
        self._tell(change["id"], status, progress, error)

    async def _look_up(self, job_id: str) -> Job | None:
        try:
            return await self._job_store.get(job_id)
        except (JobNotFound, DatabaseUnavailable):
            return None

    def _tell(self, job_id: str, status: JobStatus, progress: Progress, error: str | None) -> None:
        """Publish what is new about the job, if anything is."""
        before = self._known.get(job_id)
        if before == (status, version_of(status, progress)):
            return
        self._count(before, progress)
        self._remember(job_id, status, progress)
        for kind in _kinds(before, status):
            self._hub.publish(
                Event(
                    job_message(kind, job_id, status, progress, error),
                    topics=(JOBS, job_topic(job_id)),
                    job_id=job_id,
                    kept=kind in ENDS,
                    version=version_of(status, progress),
                )
            )

    def _count(self, before: State | None, progress: Progress) -> None:
        _begun, files, size = before[1] if before else (0, 0, 0)
        warmed = self._metrics.warmed
        warmed.files += max(0, progress.completed_files + progress.failed_files - files)
        warmed.bytes += max(0, progress.completed_bytes + progress.failed_bytes - size)

    def _remember(self, job_id: str, status: JobStatus, progress: Progress) -> None:
        self._known[job_id] = (status, version_of(status, progress))
        self._known.move_to_end(job_id)
        while len(self._known) > REMEMBERED_JOBS:
            self._known.popitem(last=False)

    async def _take_files(self, change: Mapping[str, Any]) -> None:
        topic = files_topic(change["jobId"])
        if not self._hub.has_subscribers(topic):
            return
        for file in await self._job_store.files_by_id(change["items"]):
            message = file_message(
                change["jobId"],
                self._filespace.relative(file.path),
                size=file.size,
                error=file.error,
            )
            self._hub.publish(
                Event(
                    message,
                    topics=(topic,),
                    job_id=change["jobId"],
                    kept=file.error is not None,
                )
            )


def _kinds(before: State | None, status: JobStatus) -> Sequence[str]:
    """The events that lead from what was known to what is."""
    kinds: list[str] = []
    known = before[0] if before else None
    if known is None:
        kinds.append("job-created")
    if known is not JobStatus.RUNNING and status in (
        JobStatus.RUNNING,
        JobStatus.COMPLETED,
        JobStatus.FAILED,
    ):
        kinds.append("job-started")
    if status.has_ended:
        kinds.append(f"job-{status}")
    return kinds or ("job-progress",)
