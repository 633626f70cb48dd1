"""Publishes each change of a job once and in order."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from gateway.events.hub import JOBS, Event, Hub, caller_jobs_topic, job_topic
from gateway.job import Job, JobStatus, Progress, version_of
from gateway.metrics.latest import Metrics
from gateway.schemas.messages import JobEventKind
from gateway.schemas.serializers import job_message

# Twice what is read when listening starts again: jobs do not end exactly in the order of the times
# in the table.
REMEMBERED_ENDS: Final = 20_000
REMEMBERED_SNAPSHOTS: Final = 10_000

Version = tuple[int, int, int]


class State(NamedTuple):
    """What was published of a job; ``read`` are the files and bytes that succeeded."""

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
    """Publishes changes of jobs, so that no job's version ever falls.

    A notification may be older than the last published state: it waited while the table was read.
    All active jobs are remembered, and the most recently ended ones.
    """

    def __init__(self, hub: Hub, metrics: Metrics) -> None:
        self.has_begun = asyncio.Event()
        """Set once all jobs have been read: from then on every change is published."""
        self._hub = hub
        self._metrics = metrics
        self._active: dict[str, State] = {}
        self._ended: OrderedDict[str, State] = OrderedDict()
        self._snapshots: OrderedDict[str, Version] = OrderedDict()

    @property
    def active(self) -> Collection[str]:
        """The ids of the jobs that have not ended, as last published."""
        return tuple(self._active)

    def last_published(self, job_id: str) -> State | None:
        """The job's last published state; None if there is none, or it was forgotten."""
        return self._active.get(job_id) or self._ended.get(job_id)

    def is_stale(self, job_id: str, version: Version) -> bool:
        """Whether ``version`` was published already, or a snapshot was newer."""
        last = self.last_published(job_id)
        if last is not None and version <= last.version:
            return True
        return version < self._snapshots.get(job_id, ())

    def note_snapshot(self, job: Job) -> None:
        """Note a snapshot of the job: nothing older must be published after it."""
        if not self.is_stale(job.id, job.version):
            self._snapshots[job.id] = job.version
            while len(self._snapshots) > REMEMBERED_SNAPSHOTS:
                self._snapshots.popitem(last=False)

    def forget_snapshots(self) -> None:
        """Forget all snapshots, before the table is read again."""
        self._snapshots.clear()

    def forget(self, job_id: str) -> None:
        """Forget a job that was deleted."""
        self._active.pop(job_id, None)
        self._ended.pop(job_id, None)
        self._snapshots.pop(job_id, None)

    def remember(self, job_id: str, status: JobStatus, progress: Progress) -> None:
        """Remember a state as published."""
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
        """Publish the job's progress, unless it is stale.

        ``previous`` is the status before the change, for a job without a published state; None
        means that the job is new.
        """
        if not self.is_stale(job_id, version_of(status, progress)):
            self._publish(job_id, status, progress, error, previous, submitted_by)

    def publish_authoritative(self, job: Job) -> None:
        """Publish the job as the table has it now, even if its version fell."""
        last = self.last_published(job.id)
        if last is not None and last[:2] == (job.status, job.version):
            return
        if job.version >= self._snapshots.get(job.id, ()):
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
        last = self.last_published(job_id)
        if last is not None or previous is None:
            self._count_warmed(last.read if last else NOTHING_READ, progress)
        self.remember(job_id, status, progress)
        caller_topics = () if submitted_by is None else (caller_jobs_topic(submitted_by),)
        for kind in _kinds(last.status if last else previous, status):
            self._hub.publish(
                Event(
                    job_message(kind, job_id, status, progress, error),
                    topics=(JOBS, job_topic(job_id), *caller_topics),
                    job_id=job_id,
                    must_deliver=kind == KIND_OF_END.get(status),
                    version=version_of(status, progress),
                )
            )

    def _count_warmed(self, read: tuple[int, int], progress: Progress) -> None:
        warmed = self._metrics.warmed
        warmed.files += max(0, progress.completed_files - read[0])
        warmed.bytes += max(0, progress.completed_bytes - read[1])


def _kinds(before: JobStatus | None, status: JobStatus) -> Sequence[JobEventKind]:
    """The events that lead from ``before`` to ``status``; None: the job did not exist."""
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
