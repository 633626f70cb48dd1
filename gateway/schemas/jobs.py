"""A job, in full and in brief."""

from __future__ import annotations

from typing_extensions import TypedDict

from gateway.job import FileStatus, JobStatus
from gateway.schemas.base import Count, JobId, Percentage, Readable, Time, shape


@shape
class Size(TypedDict):
    """An amount of data; KB, MB and GB are powers of 1024."""

    bytes: int
    readable: Readable


@shape
class FilesProgress(TypedDict):
    """How many files of a job have ended."""

    completed: int
    failed: int
    total: int
    percentage: Percentage


@shape
class SizeProgress(TypedDict):
    """How much of a job's data has been read."""

    completedBytes: int
    totalBytes: int
    completedReadable: Readable
    totalReadable: Readable
    percentage: Percentage


@shape
class JobProgress(TypedDict):
    """Progress in files and in bytes. A failed file has ended, too: it counts."""

    files: FilesProgress
    size: SizeProgress
    percentage: Percentage
    """The mean of both, rounded down; 100 exactly when nothing is left."""


@shape
class JobThroughput(TypedDict):
    """The filespace's throughput while the job runs, in MiB/s."""

    mbps: float
    readable: str
    timestamp: Time | None


@shape
class Eta(TypedDict):
    """When a job will be done at the rate that it had so far."""

    seconds: Count
    time: Time | None


@shape
class JobDetail(TypedDict):
    """A job as reading it shows it."""

    id: JobId
    status: JobStatus
    totalFiles: int
    progress: JobProgress
    throughput: JobThroughput | None
    """Of a running job, while samples come in."""
    eta: Eta | None
    """Of a running job, once something of it has ended and the rest takes no year."""
    createdAt: Time | None
    startedAt: Time | None
    completedAt: Time | None
    submittedBy: str | None
    """The name of the key that submitted it; null where somebody else made the job."""
    error: str | None
    """Why the job failed, or which of its files did."""


@shape
class JobSummary(TypedDict):
    """A job as a list shows it."""

    id: JobId
    status: JobStatus
    totalFiles: int
    totalSizeBytes: int
    totalSizeReadable: Readable
    completedFiles: int
    failedFiles: int
    completedSizeBytes: int
    completedSizeReadable: Readable
    percentage: Percentage
    createdAt: Time | None
    startedAt: Time | None
    completedAt: Time | None
    submittedBy: str | None
    """The name of the key that submitted it; null where somebody else made the job."""
    error: str | None
    """Why the job failed, or which of its files did."""


@shape
class JobFileInfo(TypedDict):
    """A file of a job."""

    path: str
    """Relative to its filespace."""
    status: FileStatus
    sizeBytes: Count
    sizeReadable: Readable
    bytesRead: Count
    seconds: float | None
    """What reading it took, or has taken so far."""
    startedAt: Time | None
    completedAt: Time | None
    error: str | None
    """Why it failed."""
