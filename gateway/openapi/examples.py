"""Examples of what the gateway answers, made by what answers it: they cannot be out of date."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gateway.job import Job, JobStatus, Progress
from gateway.metrics.latest import S3Health, Throughput
from gateway.schemas.serializers import lucidlink, s3_health, serialize_job, serialize_job_summary

# Naive and in UTC, as the database keeps times.
_CREATED: Final = datetime(2026, 11, 24, 10, 23, 0, 72_000, tzinfo=UTC).replace(tzinfo=None)
_JOB: Final = Job(
    id="6bb4629b-1487-477c-96fe-b762d82a099b",
    status=JobStatus.RUNNING,
    progress=Progress(241, 96, 1, 560_463_872, 224_395_264, 2_097_152),
    created_at=_CREATED,
    started_at=_CREATED + timedelta(seconds=1),
    completed_at=None,
    error=None,
    worker_id="gateway-1",
)


def make_examples() -> Mapping[str, Any]:
    """One example a shape, by its name."""
    now = _CREATED + timedelta(seconds=12)
    throughput = Throughput(25.6, now.replace(tzinfo=UTC))
    health = S3Health("us-east-1", 41, True, now.replace(tzinfo=UTC), 3, (40, 43, 41))
    return {
        "JobDetail": serialize_job(_JOB, throughput, now),
        "JobSummary": serialize_job_summary(_JOB),
        "LucidlinkMetrics": lucidlink(throughput),
        "S3Metrics": s3_health(health),
        "S3History": {**s3_health(health), "latencyHistory": health.latencies},
    }
