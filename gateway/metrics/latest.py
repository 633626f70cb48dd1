"""The latest metrics from the monitors: throughput, S3 health, cache usage."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

Varnish = Mapping[str, float | str]

MIB = 1024 * 1024
FRESH_SECONDS = 10.0
AVERAGED_CHECKS = 3
LATENCIES_KEPT = 60


@dataclass(frozen=True, slots=True)
class Throughput:
    """LucidLink's throughput in MiB/s; clients know it as "Mbps" and "MB/s"."""

    mbps: float
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class S3Health:
    """The results of the bucket's checks. Latencies are in whole milliseconds.

    ``latencies`` are those of the last 60 healthy checks, oldest first. Values not measured yet are
    None.
    """

    region: str
    latency: int | None = None
    is_healthy: bool | None = None
    last_check: datetime | None = None
    check_count: int = 0
    latencies: tuple[int, ...] = ()
    error: str | None = None

    @property
    def average_latency(self) -> int | None:
        """The mean of the last three latencies."""
        recent = self.latencies[-AVERAGED_CHECKS:]
        return round(sum(recent) / len(recent)) if recent else None

    def after_check(self, latency: int | None, error: str | None) -> S3Health:
        """The health after one more check. A failed one has no latency."""
        measured = () if error is not None or latency is None else (latency,)
        return replace(
            self,
            latency=latency,
            is_healthy=error is None,
            last_check=datetime.now(UTC),
            check_count=self.check_count + 1,
            latencies=(*self.latencies, *measured)[-LATENCIES_KEPT:],
            error=error,
        )


@dataclass(slots=True)
class CacheWarmingTotals:
    """Files and bytes that all workers have read successfully since the start."""

    files: int = 0
    bytes: int = 0


class Metrics:
    """The latest value of each metric. ``clock`` is monotonic, in seconds."""

    def __init__(self, region: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.s3_health = S3Health(region)
        self.warmed = CacheWarmingTotals()
        self.varnish: Varnish | None = None
        self.worker_limit: int | None = None
        """The read limit of each worker, in bytes per second; 0: no limit; None: not read yet."""
        self._clock = clock
        self._throughput: Throughput | None = None
        self._measured_at = 0.0

    @property
    def throughput(self) -> Throughput | None:
        """The last throughput, however old; None before any sample."""
        return self._throughput

    @property
    def fresh_throughput(self) -> Throughput | None:
        """The throughput, if it is less than ten seconds old."""
        if self._throughput is None or self._clock() - self._measured_at >= FRESH_SECONDS:
            return None
        return self._throughput

    def measure_throughput(self, mbps: float) -> Throughput:
        """Keep a new sample, in MiB/s."""
        self._throughput = Throughput(mbps, datetime.now(UTC))
        self._measured_at = self._clock()
        return self._throughput
