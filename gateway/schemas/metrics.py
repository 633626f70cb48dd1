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
class LucidlinkFigures(TypedDict):
    """What is read from the filespace."""

    throughputMbps: float
    """In MiB/s, as the backend measures it; 0 before any sample."""
    timestamp: Time | None


@shape
class S3Figures(TypedDict):
    """What the checks of the bucket found; what was not measured yet is null."""

    latency: Milliseconds | None
    averageLatency: Milliseconds | None
    isHealthy: bool | None
    lastCheck: Time | None
    checkCount: Count
    region: str
    error: str | None


@shape
class S3History(S3Figures):
    """What the checks of the bucket found, with the latencies of the last healthy ones."""

    latencyHistory: Sequence[int]
    """In milliseconds, oldest first, at most 60."""


@shape
class VarnishFigures(TypedDict, total=False):
    """How full the cache is, as far as the backend says it."""

    bytesUsed: Figure
    totalSpace: Figure
    usagePercentage: Figure
    lastUpdated: Figure


@shape
class WorkerFigures(TypedDict):
    """What the workers are held to."""

    maxBytesPerSecond: int
    """Of each worker; 0: no limit."""


@shape
class MeasuredFigures(TypedDict):
    """What is measured."""

    lucidLink: LucidlinkFigures
    s3Health: S3Figures
    varnish: NotRequired[VarnishFigures]
    """Not there before the backend has sent it."""


@shape
class AllFigures(MeasuredFigures):
    """What is measured, and what the workers are held to."""

    workers: NotRequired[WorkerFigures]
    """Not there before the database was asked."""
