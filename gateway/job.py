"""A cache job: its states with their legal transitions, its counters, its progress.

::

    pending ──► running ──► completed    at least one file succeeded
       │ ▲      │  ▲  └───► failed       none did
       │ │      ▼  │
       │ └─── paused                     set by TeamCache Manager
       └──────┴──┴────────► cancelled ──► pending   an administrator's explicit return
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from gateway.errors import InvalidRequest

# Where the database announces each change of a job.
JOBS_CHANNEL: Final = "teamcache_gateway_jobs"

# An end further away than this is no news: a job just begun, of which next to nothing has ended.
MAX_SECONDS_LEFT: Final = 365 * 86_400.0

_CANONICAL_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class JobStatus(StrEnum):
    """The state of a job, as the database and the API write it."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def has_ended(self) -> bool:
        """Whether no worker will touch the job any more."""
        return self in ENDED


ENDED: Final = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})

TRANSITIONS: Final[Mapping[JobStatus, frozenset[JobStatus]]] = MappingProxyType(
    {
        JobStatus.PENDING: frozenset({JobStatus.RUNNING, JobStatus.PAUSED, JobStatus.CANCELLED}),
        JobStatus.RUNNING: frozenset(
            {
                JobStatus.PENDING,
                JobStatus.PAUSED,
                JobStatus.COMPLETED,
                JobStatus.FAILED,
                JobStatus.CANCELLED,
            }
        ),
        JobStatus.PAUSED: frozenset({JobStatus.PENDING, JobStatus.RUNNING, JobStatus.CANCELLED}),
        JobStatus.COMPLETED: frozenset(),
        JobStatus.FAILED: frozenset(),
        JobStatus.CANCELLED: frozenset({JobStatus.PENDING}),
    }
)


def parse_job_id(text: str) -> str:
    """The job id in its canonical 8-4-4-4-12 form, lower case. Raises `InvalidRequest`."""
    if not _CANONICAL_ID.fullmatch(text):
        raise InvalidRequest("Invalid job ID format")
    return text.lower()


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of a job has ended. Sizes are in bytes.

    ``completed_bytes`` are the sizes of succeeded files plus what was read of running ones;
    ``failed_bytes`` the planned sizes of failed files: they have ended too. ``is_over`` says that
    the job has ended: where nobody has counted its files yet, nothing else tells.
    """

    total_files: int
    completed_files: int
    failed_files: int
    total_bytes: int
    completed_bytes: int
    failed_bytes: int
    is_over: bool = False

    @property
    def is_everything_ended(self) -> bool:
        """Whether no file is left to read; without a total, whether the job has ended."""
        if self.total_files <= 0:
            return self.is_over
        return self.completed_files + self.failed_files >= self.total_files

    @property
    def lacks_sizes(self) -> bool:
        """Whether files have ended but not their bytes: the job's worker keeps no sizes."""
        lacks_completed = self.completed_files and not self.completed_bytes
        lacks_failed = self.failed_files and not self.failed_bytes
        return bool(self.total_bytes and (lacks_completed or lacks_failed))

    @property
    def file_percentage(self) -> int:
        """Files that ended, of all: 0 to 100."""
        return self._rounded_down(*self._files)

    @property
    def size_percentage(self) -> int:
        """Bytes that ended, of all: 0 to 100. Without known sizes it follows the files'."""
        return self._rounded_down(*self._sizes)

    @property
    def percentage(self) -> int:
        """The mean of both, rounded down once: 0 to 100."""
        (files, total_files), (size, total_size) = self._files, self._sizes
        return self._rounded_down(
            files * total_size + size * total_files, 2 * total_files * total_size
        )

    @property
    def _files(self) -> tuple[int, int]:
        return _part_of(self.completed_files + self.failed_files, self.total_files)

    @property
    def _sizes(self) -> tuple[int, int]:
        if not self.total_bytes:
            return self._files
        return _part_of(self.completed_bytes + self.failed_bytes, self.total_bytes)

    @property
    def ended_share(self) -> float:
        """The share of the work that has ended, 0 to 1: of bytes, without sizes of files."""
        ended, total = self._sizes
        return ended / total if total else 0.0

    def _rounded_down(self, ended: int, total: int) -> int:
        """100 is kept for the moment when nothing is left: until then 99 at most."""
        if self.is_everything_ended:
            return 100
        # In whole numbers: 29 of 100 are 28.999999999999996 percent to a float.
        return min(99, ended * 100 // total) if total else 0


def _part_of(ended: int, total: int) -> tuple[int, int]:
    """What has ended of a total, within bounds: a file may have grown since it was indexed."""
    total = max(0, total)
    return min(max(0, ended), total), total


def version_of(status: JobStatus, progress: Progress) -> tuple[int, int, int]:
    """How far a job is: (begun or ended, files that ended, bytes that ended). It only rises."""
    begun = 2 if status.has_ended else int(status is not JobStatus.PENDING)
    return (
        begun,
        progress.completed_files + progress.failed_files,
        progress.completed_bytes + progress.failed_bytes,
    )


@dataclass(frozen=True, slots=True)
class Job:
    """A cache job as polling shows it; the paths that it lists stay in the database.

    Times are naive and in UTC, as the database keeps them. ``submitted_by`` names the API key, None
    where it is not known.
    """

    id: str
    status: JobStatus
    progress: Progress
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    error: str | None
    worker_id: str | None
    submitted_by: str | None = None

    @property
    def version(self) -> tuple[int, int, int]:
        """Orders what is told of a job: see `version_of`."""
        return version_of(self.status, self.progress)

    def seconds_left(self, now: datetime) -> float | None:
        """How long the job will still run at its average rate so far, by bytes or else by files.

        None while nothing has ended, when there is nothing to go by, or when it would be more than
        a year. ``now`` is naive, in UTC.
        """
        if self.started_at is None or self.progress.is_everything_ended:
            return None
        elapsed = (now - self.started_at).total_seconds()
        done = self.progress.ended_share
        if elapsed <= 0 or done <= 0:
            return None
        left = elapsed * (1 - done) / done
        return left if left <= MAX_SECONDS_LEFT else None


class FileStatus(StrEnum):
    """The state of a file of a job, as the database and the API write it."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class JobFile:
    """A file of a job.

    ``path`` is absolute in the filespace. Sizes are in bytes, 0 where a worker keeps none.
    ``seconds`` is how long it was read, so far or in all; None where that is not known. Times are
    naive and in UTC, as the database keeps them.
    """

    path: str
    status: FileStatus
    size: int
    bytes_read: int
    seconds: float | None
    started_at: datetime | None
    completed_at: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True)
class CreatedJob:
    """A job that is now in the database, with its totals in files and bytes."""

    id: str
    status: JobStatus
    total_files: int
    total_bytes: int
    created_at: datetime
