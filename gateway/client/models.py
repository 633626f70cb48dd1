"""What the client shows, and how it is read from what the gateway says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

Json = Mapping[str, Any]
# What a field is called in the gateway's answers, where a program's own name differs.
WIRE_NAME: Final = "wire"


@dataclass(frozen=True, slots=True)
class SubmittedJob:
    """A job as the gateway created it. Sizes are in bytes.

    ``unindexed`` are the names that the index does not know; ``matched`` those that it knows in
    another spelling, with that spelling.
    """

    id: str
    status: str
    total_files: int
    total_bytes: int = field(metadata={WIRE_NAME: "totalSizeBytes"})
    unindexed: Sequence[str]
    matched: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobView:
    """A job's state and progress. Sizes are in bytes, ``percentage`` is 0 to 100: the mean of
    ``file_percentage`` and ``size_percentage``, which a list of jobs does not tell.

    ``seconds_left`` and ``mbps`` (MiB/s) are None where the gateway does not know them, and so
    is ``submitted_by``, the name of the API key.
    """

    id: str
    status: str
    total_files: int
    completed_files: int
    failed_files: int
    total_bytes: int = field(metadata={WIRE_NAME: "totalSizeBytes"})
    completed_bytes: int = field(metadata={WIRE_NAME: "completedSizeBytes"})
    percentage: int
    error: str | None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    seconds_left: int | None = None
    mbps: float | None = None
    submitted_by: str | None = None
    file_percentage: int | None = None
    size_percentage: int | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the job is completed, failed or cancelled."""
        return self.status in ("completed", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class FileView:
    """How a file of a job ended; ``path`` is relative to its filespace.

    ``size`` is in bytes, None if unknown; ``error`` is None if the file was read.
    """

    path: str = field(metadata={WIRE_NAME: "filePath"})
    size: int | None = field(metadata={WIRE_NAME: "sizeBytes"})
    error: str | None


@dataclass(frozen=True, slots=True)
class JobFileView:
    """A file of a job. Sizes are in bytes; ``seconds`` is how long it has been read."""

    path: str
    status: str
    size: int = field(metadata={WIRE_NAME: "sizeBytes"})
    bytes_read: int
    seconds: float | None
    started_at: datetime | None
    completed_at: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True)
class ResolvedPathView:
    """What a path means to the gateway.

    ``resolved`` is relative to ``filespace``; ``sendable`` asks for the same when it is sent, and
    is what to keep. They are None where the path is refused, and ``error`` says why. ``kind`` is
    ``file``, ``directory``, or None if that is not known; ``size`` is in bytes.
    """

    path: str
    resolved: str | None
    filespace: str | None
    rule: str | None
    indexed: bool
    kind: str | None = field(metadata={WIRE_NAME: "type"})
    size: int | None
    error: str | None
    sendable: str | None = None


@dataclass(frozen=True, slots=True)
class JobChange:
    """What ``GatewayClient.watch`` yields: the job as it is now, and the file that ended, if any.

    ``kind`` is the message's type: ``snapshot``, ``job-progress``, ``file-failed``, ….
    """

    kind: str = field(metadata={WIRE_NAME: "type"})
    job: JobView
    file: FileView | None = None


@dataclass(frozen=True, slots=True)
class MetricsView:
    """The newest figures. ``mbps`` is in MiB/s, latencies are in milliseconds.

    ``measured_at`` is None before any throughput was measured; ``s3_error`` says what is wrong.
    """

    mbps: float
    s3_is_healthy: bool | None
    s3_latency: int | None
    s3_average_latency: int | None
    s3_error: str | None = None
    measured_at: datetime | None = None


def listed(paths: Sequence[str]) -> list[str]:
    """The paths as a list. Raises TypeError for one text, whose letters are no paths."""
    if isinstance(paths, str | bytes):
        raise TypeError(f"Paths are given as a list, not as one text: {paths!r}")
    return list(paths)


def read_submitted(answer: Json) -> SubmittedJob:
    """A job as the answer to its submit shows it."""
    return SubmittedJob(
        id=answer["jobId"],
        status=answer["status"],
        total_files=answer["totalFiles"],
        total_bytes=answer["totalSize"]["bytes"],
        unindexed=answer["unindexed"],
        # Older gateways do not say.
        matched={one["path"]: one["resolved"] for one in answer.get("matched", ())},
    )


def read_metrics(figures: Json) -> MetricsView:
    """All metrics."""
    health = figures["s3Health"]
    return MetricsView(
        mbps=figures["lucidLink"]["throughputMbps"],
        s3_is_healthy=health["isHealthy"],
        s3_latency=health["latency"],
        s3_average_latency=health["averageLatency"],
        s3_error=health.get("error"),
        measured_at=_read_time(figures["lucidLink"].get("timestamp")),
    )


def read_job_file(file: Json) -> JobFileView:
    """A file as the list of a job's files shows it."""
    return JobFileView(
        path=file["path"],
        status=file["status"],
        size=file["sizeBytes"],
        bytes_read=file["bytesRead"],
        seconds=file["seconds"],
        started_at=_read_time(file["startedAt"]),
        completed_at=_read_time(file["completedAt"]),
        error=file["error"],
    )


def read_resolved(path: Json) -> ResolvedPathView:
    """What a path means, as the gateway says it."""
    return ResolvedPathView(
        path=path["path"],
        resolved=path["resolved"],
        filespace=path["filespace"],
        rule=path["rule"],
        indexed=path["indexed"],
        kind=path["type"],
        size=path["size"],
        error=path["error"],
        # Older gateways do not say; what they say in its stead serves where there is one filespace.
        sendable=path.get("sendable", path["resolved"] or None),
    )


def read_job(job: Json) -> JobView:
    """A job as reading it shows it."""
    return JobView(
        id=job["id"],
        status=job["status"],
        error=job["error"],
        **_read_origin(job),
        seconds_left=job["eta"]["seconds"] if job["eta"] else None,
        mbps=job["throughput"]["mbps"] if job["throughput"] else None,
        **_read_progress(job["progress"]),
    )


def read_brief_job(job: Json) -> JobView:
    """A job as a list shows it."""
    return JobView(
        id=job["id"],
        status=job["status"],
        total_files=job["totalFiles"],
        completed_files=job["completedFiles"],
        failed_files=job["failedFiles"],
        total_bytes=job["totalSizeBytes"],
        completed_bytes=job["completedSizeBytes"],
        percentage=job["percentage"],
        error=job["error"],
        **_read_origin(job),
    )


def _read_origin(job: Json) -> dict[str, Any]:
    """What both shapes of a job say in the same way: its times, and who submitted it."""
    return {
        "created_at": _read_time(job["createdAt"]),
        "started_at": _read_time(job["startedAt"]),
        "completed_at": _read_time(job["completedAt"]),
        "submitted_by": job.get("submittedBy"),
    }


def _read_progress(progress: Json) -> dict[str, Any]:
    files, size = progress["files"], progress["size"]
    return {
        "total_files": files["total"],
        "completed_files": files["completed"],
        "failed_files": files["failed"],
        "total_bytes": size["totalBytes"],
        "completed_bytes": size["completedBytes"],
        "percentage": progress["percentage"],
        "file_percentage": files.get("percentage"),
        "size_percentage": size.get("percentage"),
    }


def take(job: JobView | None, message: Json) -> tuple[JobView | None, FileView | None]:
    """The job after a message, and the file that it tells of, if it tells of one."""
    kind = message["type"]
    if kind == "snapshot":
        return read_job(message["job"]), None
    if job is None or message.get("jobId") != job.id:
        return job, None
    if kind.startswith("file-"):
        return job, FileView(message["filePath"], message["sizeBytes"], message["error"])
    if not kind.startswith("job-"):
        return job, None
    told = _read_progress(message["progress"])
    job = replace(job, status=message["status"], error=message["error"], **told)
    # Only a job that runs has a rate; what a message leaves out stays as it was.
    return (job if job.status == "running" else replace(job, seconds_left=None, mbps=None)), None


def _read_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
