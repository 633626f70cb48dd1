"""How values look on the wire: times, sizes, jobs, metrics. One form for REST and WebSocket."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast

from gateway.formatting import iso_now, iso_time, readable_size
from gateway.job import CreatedJob, Job, JobFile, JobStatus, Progress
from gateway.metrics.latest import Metrics, S3Health, Throughput, Varnish
from gateway.schemas.jobs import Eta, JobDetail, JobFileInfo, JobProgress, JobSummary, JobThroughput
from gateway.schemas.messages import (
    FileMessage,
    JobEventKind,
    JobMessage,
    LucidlinkMessage,
    MetricsMessage,
    S3Message,
    VarnishMessage,
)
from gateway.schemas.metrics import (
    AllMetrics,
    LucidlinkMetrics,
    MeasuredMetrics,
    S3Metrics,
    VarnishMetrics,
)
from gateway.schemas.responses import JobCreated


def serialize_job(job: Job, throughput: Throughput | None, now: datetime) -> JobDetail:
    """A job as reading it shows it. ``now`` is naive, in UTC."""
    is_running = job.status is JobStatus.RUNNING
    return {
        "id": job.id,
        "status": job.status,
        "totalFiles": job.progress.total_files,
        "progress": progress(job.progress),
        "throughput": _job_throughput(throughput) if is_running and throughput else None,
        "eta": _eta(job, now) if is_running else None,
        "createdAt": iso_time(job.created_at),
        "startedAt": iso_time(job.started_at),
        "completedAt": iso_time(job.completed_at),
        "error": job.error,
        "submittedBy": job.submitted_by,
    }


def serialize_job_summary(job: Job) -> JobSummary:
    """A job as a list shows it."""
    counters = job.progress
    return {
        "id": job.id,
        "status": job.status,
        "totalFiles": counters.total_files,
        "totalSizeBytes": counters.total_bytes,
        "totalSizeReadable": readable_size(counters.total_bytes),
        "completedFiles": counters.completed_files,
        "failedFiles": counters.failed_files,
        "completedSizeBytes": counters.completed_bytes,
        "completedSizeReadable": readable_size(counters.completed_bytes),
        "percentage": counters.percentage,
        "createdAt": iso_time(job.created_at),
        "startedAt": iso_time(job.started_at),
        "completedAt": iso_time(job.completed_at),
        "error": job.error,
        "submittedBy": job.submitted_by,
    }


def serialize_created(
    job: CreatedJob, unindexed: Sequence[str], respelled: Sequence[tuple[str, str]]
) -> JobCreated:
    """A job that was just created.

    ``unindexed`` are the listed files that the index does not know, as typed; ``respelled`` are
    names as typed, each with the index's own spelling.
    """
    return {
        "success": True,
        "jobId": job.id,
        "status": job.status,
        "totalFiles": job.total_files,
        "totalSize": {"bytes": job.total_bytes, "readable": readable_size(job.total_bytes)},
        "unindexed": unindexed,
        "matched": [{"path": path, "resolved": other} for path, other in respelled],
        "message": "Cache job created successfully",
        "createdAt": iso_time(job.created_at),
    }


def job_file(file: JobFile, path: str, error: str | None) -> JobFileInfo:
    """A file of a job; ``path`` is relative to its filespace, as are those in its ``error``."""
    return {
        "path": path,
        "status": file.status,
        "sizeBytes": file.size,
        "sizeReadable": readable_size(file.size),
        "bytesRead": file.bytes_read,
        "seconds": file.seconds,
        "startedAt": iso_time(file.started_at),
        "completedAt": iso_time(file.completed_at),
        "error": error,
    }


def progress(counters: Progress) -> JobProgress:
    """Progress in files and in bytes, with percentages."""
    return {
        "files": {
            "completed": counters.completed_files,
            "failed": counters.failed_files,
            "total": counters.total_files,
            "percentage": counters.file_percentage,
        },
        "size": {
            "completedBytes": counters.completed_bytes,
            "totalBytes": counters.total_bytes,
            "completedReadable": readable_size(counters.completed_bytes),
            "totalReadable": readable_size(counters.total_bytes),
            "percentage": counters.size_percentage,
        },
        "percentage": counters.percentage,
    }


def job_message(
    kind: JobEventKind, job_id: str, status: JobStatus, counters: Progress, error: str | None
) -> JobMessage:
    """A change of a job."""
    return {
        "type": kind,
        "jobId": job_id,
        "status": status,
        "totalFiles": counters.total_files,
        "progress": progress(counters),
        "error": error,
        "timestamp": iso_now(),
    }


def file_message(job_id: str, path: str, size: int | None, error: str | None) -> FileMessage:
    """How a file of a job ended; ``path`` is relative to its filespace."""
    return {
        "type": "file-completed" if error is None else "file-failed",
        "jobId": job_id,
        "filePath": path,
        "sizeBytes": size,
        "error": error,
        "timestamp": iso_now(),
    }


def lucidlink(throughput: Throughput | None) -> LucidlinkMetrics:
    """The throughput in MiB/s, under the names that clients know; 0 before any sample."""
    if throughput is None:
        return {"throughputMbps": 0, "timestamp": None}
    return {
        "throughputMbps": round(throughput.mbps, 2),
        "timestamp": iso_time(throughput.timestamp),
    }


def s3_health(health: S3Health) -> S3Metrics:
    """S3 health; what was not measured yet is null."""
    return {
        "latency": health.latency,
        "averageLatency": health.average_latency,
        "isHealthy": health.is_healthy,
        "lastCheck": iso_time(health.last_check),
        "checkCount": health.check_count,
        "region": health.region,
        "error": health.error,
    }


def all_metrics(metrics: Metrics) -> AllMetrics:
    """What is measured, and what the workers are held to."""
    figures: AllMetrics = {**measured(metrics)}  # type: ignore[typeddict-item]
    if metrics.worker_limit is not None:
        figures["workers"] = {"maxBytesPerSecond": metrics.worker_limit}
    return figures


def measured(metrics: Metrics) -> MeasuredMetrics:
    """What is measured."""
    figures: MeasuredMetrics = {
        "lucidLink": lucidlink(metrics.throughput),
        "s3Health": s3_health(metrics.s3_health),
    }
    if metrics.varnish is not None:
        figures["varnish"] = varnish_metrics(metrics.varnish)
    return figures


def varnish_metrics(varnish: Varnish) -> VarnishMetrics:
    """What the backend says of the cache; its monitor lets no other names in."""
    return cast(VarnishMetrics, dict(varnish))


def metrics_message(metrics: Metrics) -> MetricsMessage:
    """The first message on a WebSocket."""
    return {"type": "metrics", **measured(metrics)}


def lucidlink_message(throughput: Throughput) -> LucidlinkMessage:
    """A new sample of the throughput."""
    return {"type": "lucidlink-stats", "lucidLink": lucidlink(throughput)}


def s3_message(health: S3Health) -> S3Message:
    """The outcome of a check."""
    return {"type": "s3-health", "s3Health": s3_health(health)}


def varnish_message(varnish: Varnish) -> VarnishMessage:
    """How full the cache is, as the backend says it."""
    return {"type": "varnish-stats", "varnish": varnish_metrics(varnish)}


def _job_throughput(throughput: Throughput) -> JobThroughput:
    mbps = round(throughput.mbps, 2)
    return {
        "mbps": mbps,
        "readable": f"{mbps:g} MB/s",
        "timestamp": iso_time(throughput.timestamp),
    }


def _eta(job: Job, now: datetime) -> Eta | None:
    """When the job will be done at the rate that it had so far; None while that is unknown."""
    seconds = job.seconds_left(now)
    if seconds is None:
        return None
    return {"seconds": round(seconds), "time": iso_time(now + timedelta(seconds=seconds))}
