"""Counts requests and their durations in plain numbers.

The counters and histograms of prometheus_client take locks, which a single thread does not need,
and cost as much as looking up a job.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
NAMES: Final = (*map(str, BOUNDS), "+Inf")


@dataclass(slots=True)
class _Durations:
    """Requests by upper bound of their duration, and the sum of the durations in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * len(NAMES))
    seconds: float = 0.0
    since: float = field(default_factory=time.time)


@dataclass(slots=True)
class _Count:
    requests: int = 0
    since: float = field(default_factory=time.time)


class RequestCounts:
    """Counts requests by method, route and status. Not thread-safe."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._counts: defaultdict[tuple[str, str, int], _Count] = defaultdict(_Count)
        self._durations: defaultdict[str, _Durations] = defaultdict(_Durations)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; ``route`` is the matched pattern, not the path."""
        # A client may invent methods, and each would create a series.
        method = method if method in METHODS else "other"
        self._counts[method, route, status].requests += 1
        durations = self._durations[route]
        durations.counts[bisect_left(BOUNDS, seconds)] += 1
        durations.seconds += seconds

    def collect(self) -> Iterable[Metric]:
        """All counts, for a scrape."""
        yield self._collect_counts()
        yield self._collect_durations()

    def _collect_counts(self) -> Metric:
        family = CounterMetricFamily(
            f"{self._prefix}_requests", "Requests answered", labels=("method", "route", "status")
        )
        for (method, route, status), count in self._counts.items():
            family.add_metric((method, route, str(status)), count.requests, created=count.since)
        return family

    def _collect_durations(self) -> Metric:
        name = f"{self._prefix}_request_duration_seconds"
        family = HistogramMetricFamily(name, "How long requests took", labels=("route",))
        for route, durations in self._durations.items():
            buckets = list(zip(NAMES, accumulate(durations.counts), strict=True))
            family.add_metric((route,), buckets, durations.seconds)
            family.add_sample(f"{name}_created", {"route": route}, durations.since)
        return family
