"""What is known of each job, and what is therefore news: told in order, and once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from gateway.events.hub import JOBS, Event, Hub, callers_jobs_topic, job_topic
from gateway.job import Job, JobStatus, Progress, version_of
from gateway.metrics.latest import Metrics
from gateway.schemas.messages import JobEventKind
from gateway.schemas.serializers import job_message

# Twice what is read when listening begins again: the order in which jobs end is not quite that of
# the times that stand in the table.
REMEMBERED_ENDS: Final = 20_000
REMEMBERED_SNAPSHOTS: Final = 10_000

Version = tuple[int, int, int]


class State(NamedTuple):
    """What was told of a job; ``read`` are the files and bytes that succeeded."""

    status: JobStatus
    version: Version
    read: tuple[int, int]


NOTHING_READ: Final = (0, 0)
KIND_OF_END: Final[Mapping[JobStatus, JobEventKind]] = {
    JobStatus.COMPLETED: "job-completed",
    JobStatus.FAILED: "job-failed",
    JobStatus.CANCELLED: "job-cancelled",
}


class JobEventPublisher:
    """Publishes what is new about a job, so that no job's version ever falls.

    A notification may be older than what is known: it waited while the table was read. Jobs that
    have not ended are all remembered, of the others those that ended last.
    """

    def __init__(self, hub: Hub, metrics: Metrics) -> None:
        self.has_begun = asyncio.Event()
        """Set once every job is known: from then on every change is told."""
        self._hub = hub
        self._metrics = metrics
        self._active: dict[str, State] = {}
        self._ended: OrderedDict[str, State] = OrderedDict()
        self._shown: OrderedDict[str, Version] = OrderedDict()

    @property
    def active(self) -> Collection[str]:
        """The jobs that have not ended as far as is known."""
        return tuple(self._active)

    def known(self, job_id: str) -> State | None:
        """The job's state as it was last told; None if nothing was, or long ago."""
        return self._active.get(job_id) or self._ended.get(job_id)

    def is_stale(self, job_id: str, version: Version) -> bool:
        """Whether as much of the job was told already, or more was shown to somebody."""
        known = self.known(job_id)
        if known is not None and version <= known.version:
            return True
        return version < self._shown.get(job_id, ())

    def note_snapshot(self, job: Job) -> None:
        """Note that a snapshot shows the job: what is older must not be told after it."""
        if not self.is_stale(job.id, job.version):
            self._shown[job.id] = job.version
            while len(self._shown) > REMEMBERED_SNAPSHOTS:
                self._shown.popitem(last=False)

    def forget_snapshots(self) -> None:
        """Forget what snapshots showed: the table is about to be read anew."""
        self._shown.clear()

    def forget(self, job_id: str) -> None:
        """Forget a job that is no more."""
        self._active.pop(job_id, None)
        self._ended.pop(job_id, None)
        self._shown.pop(job_id, None)

    def remember(self, job_id: str, status: JobStatus, progress: Progress) -> None:
        """Take a state for told."""
        self.forget(job_id)
        read = (progress.completed_files, progress.completed_bytes)
        state = State(status, version_of(status, progress), read)
        if not status.has_ended:
            self._active[job_id] = state
            return
        self._ended[job_id] = state
        while len(self._ended) > REMEMBERED_ENDS:
            self._ended.popitem(last=False)

    def publish(
        self,
        job_id: str,
        status: JobStatus,
        progress: Progress,
        error: str | None,
        previous: JobStatus | None = None,
        submitted_by: str | None = None,
    ) -> None:
        """Publish how far the job is, unless that is old.

        ``previous`` is the state before, for a job that is not known; without it, it is new.
        """
        if not self.is_stale(job_id, version_of(status, progress)):
            self._publish(job_id, status, progress, error, previous, submitted_by)

    def publish_authoritative(self, job: Job) -> None:
        """Publish the job as the table says it is now, also where it went back a step."""
        known = self.known(job.id)
        if known is not None and known[:2] == (job.status, job.version):
            return
        if job.version >= self._shown.get(job.id, ()):
            self._publish(job.id, job.status, job.progress, job.error, None, job.submitted_by)

    def _publish(
        self,
        job_id: str,
        status: JobStatus,
        progress: Progress,
        error: str | None,
        previous: JobStatus | None,
        submitted_by: str | None,
    ) -> None:
        known = self.known(job_id)
        if known is not None or previous is None:
            self._count(known.read if known else NOTHING_READ, progress)
        self.remember(job_id, status, progress)
        own = () if submitted_by is None else (callers_jobs_topic(submitted_by),)
        for kind in _kinds(known.status if known else previous, status):
            self._hub.publish(
                Event(
                    job_message(kind, job_id, status, progress, error),
                    topics=(JOBS, job_topic(job_id), *own),
                    job_id=job_id,
                    must_deliver=kind == KIND_OF_END.get(status),
                    version=version_of(status, progress),
                )
            )

    def _count(self, read: tuple[int, int], progress: Progress) -> None:
        warmed = self._metrics.warmed
        warmed.files += max(0, progress.completed_files - read[0])
        warmed.bytes += max(0, progress.completed_bytes - read[1])


def _kinds(before: JobStatus | None, status: JobStatus) -> Sequence[JobEventKind]:
    """The events that lead from one state to another; before None there was no job."""
    kinds: list[JobEventKind] = []
    if before is None:
        kinds.append("job-created")
    if before is not JobStatus.RUNNING and status in (
        JobStatus.RUNNING,
        JobStatus.COMPLETED,
        JobStatus.FAILED,
    ):
        kinds.append("job-started")
    if status in KIND_OF_END:
        kinds.append(KIND_OF_END[status])
    return kinds or ("job-progress",)
