"""What is measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from gateway.schemas.base import Count, Time, shape

Milliseconds = Annotated[int, Field(description="In milliseconds.", ge=0)]
Figure = float | str


@shape
class LucidlinkMetrics(TypedDict):
    """What is read from the filespace."""

    throughputMbps: float
    """In MiB/s, as the backend measures it; 0 before any sample."""
    timestamp: Time | None


@shape
class S3Metrics(TypedDict):
    """What the checks of the bucket found; what was not measured yet is null."""

    latency: Milliseconds | None
    averageLatency: Milliseconds | None
    isHealthy: bool | None
    lastCheck: Time | None
    checkCount: Count
    region: str
    error: str | None


@shape
class S3History(S3Metrics):
    """What the checks of the bucket found, with the latencies of the last healthy ones."""

    latencyHistory: Sequence[int]
    """In milliseconds, oldest first, at most 60."""


@shape
class VarnishMetrics(TypedDict, total=False):
    """How full the cache is, as far as the backend says it."""

    bytesUsed: Figure
    totalSpace: Figure
    usagePercentage: Figure
    lastUpdated: Figure


@shape
class WorkerMetrics(TypedDict):
    """What the workers are held to."""

    maxBytesPerSecond: int
    """Of each worker; 0: no limit."""


@shape
class MeasuredMetrics(TypedDict):
    """What is measured."""

    lucidLink: LucidlinkMetrics
    s3Health: S3Metrics
    varnish: NotRequired[VarnishMetrics]
    """Not there before the backend has sent it."""


@shape
class AllMetrics(MeasuredMetrics):
    """What is measured, and what the workers are held to."""

    workers: NotRequired[WorkerMetrics]
    """Not there before the database was asked."""
