"""The metrics in Prometheus's text format: https://prometheus.io/docs/instrumenting/exposition_formats/

Requests are counted as they happen; all other values are collected at each scrape.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from gateway.job import JobStatus
from gateway.metrics.heartbeat import Heartbeat
from gateway.metrics.latest import MIB, CacheWarmingTotals, Metrics
from gateway.metrics.request_counts import RequestCounts

TEXT_FORMATS: Final = ("text/plain", "application/openmetrics-text")
VERSION: Final = re.compile(r";\s*version\s*=([^;]*)")
VERSIONS: Final = frozenset({"0.0.1", "0.0.4", "1.0.0"})
PREFIX: Final = "teamcache_gateway"


class Pool(Protocol):
    """The metrics of the database's connection pool."""

    @property
    def in_use(self) -> int:
        """The number of connections in use."""

    @property
    def size(self) -> int:
        """The maximum number of connections."""

    @property
    def is_disk_full(self) -> bool:
        """Whether the last write failed because the disk was full."""


class Clients(Protocol):
    """The metrics of the WebSocket clients."""

    @property
    def count(self) -> int:
        """The number of connected clients."""

    @property
    def dropped(self) -> int:
        """The number of events dropped for slow clients."""


class PrometheusMetrics:
    """Renders all metrics.

    ``heartbeats`` holds the monitors' by name, added as they start; the access log counts
    ``requests``.
    """

    def __init__(self, database: Pool, metrics: Metrics, send_buffers: Clients) -> None:
        self.heartbeats: dict[str, Heartbeat] = {}
        self.requests = RequestCounts(PREFIX)
        self._database = database
        self._metrics = metrics
        self._send_buffers = send_buffers
        self._jobs: Mapping[JobStatus, int] | None = None
        self._registry = CollectorRegistry()
        ProcessCollector(PREFIX, registry=self._registry)
        self._registry.register(self)

    def render(self, accept: str, jobs: Mapping[JobStatus, int] | None) -> tuple[bytes, str]:
        """The text and its content type, in the format that the Accept header prefers.

        ``jobs`` counts the jobs of each status, zeros left out; None if unknown.
        """
        self._jobs = jobs
        encode, content_type = choose_encoder(_supported(accept))
        return encode(self._registry), content_type

    def collect(self) -> Iterable[Metric]:
        """Collect all metrics; the registry calls this for each scrape."""
        yield from self.requests.collect()
        yield from self._collect_jobs()
        yield from self._collect_connections()
        yield from self._collect_monitors()
        yield from self._collect_latest()

    def _collect_jobs(self) -> Iterable[Metric]:
        if self._jobs is not None:
            jobs = _gauge("jobs", "Jobs by state", ("status",))
            for status in JobStatus:
                jobs.add_metric((status,), self._jobs.get(status, 0))
            yield jobs
        warmed: CacheWarmingTotals = self._metrics.warmed
        yield _counter("warmed_files", "Files that all workers have read", warmed.files)
        yield _counter("warmed_bytes", "Bytes that all workers have read", warmed.bytes)

    def _collect_connections(self) -> Iterable[Metric]:
        yield _value("websocket_clients", "WebSocket clients", self._send_buffers.count)
        yield _counter(
            "websocket_dropped_events",
            "Events dropped for slow WebSocket clients",
            self._send_buffers.dropped,
        )
        yield _value("tasks", "What the event loop has under way", len(asyncio.all_tasks()))
        yield _value("database_connections", "Connections in use", self._database.in_use)
        yield _value("database_connections_limit", "Connections at most", self._database.size)
        yield _value(
            "database_disk_full",
            "Whether the last submit found no room on the database's disk",
            self._database.is_disk_full,
        )

    def _collect_monitors(self) -> Iterable[Metric]:
        healthy = _gauge("monitor_healthy", "Whether a monitor sees what it watches", ("monitor",))
        age = _gauge("monitor_age_seconds", "Time since its last sign of life", ("monitor",))
        for name, heartbeat in self.heartbeats.items():
            healthy.add_metric((name,), bool(heartbeat.is_healthy))
            if heartbeat.age is not None:
                age.add_metric((name,), heartbeat.age)
        yield healthy
        yield age

    def _collect_latest(self) -> Iterable[Metric]:
        health, throughput = self._metrics.s3_health, self._metrics.fresh_throughput
        if health.is_healthy is not None:
            yield _value("s3_healthy", "Whether the bucket can be reached", health.is_healthy)
        if health.latency is not None:
            yield _value("s3_latency_seconds", "Of the last check", health.latency / 1000)
        if self._metrics.worker_limit is not None:
            yield _value(
                "worker_limit_bytes_per_second",
                "What each worker reads at most; 0: no limit",
                self._metrics.worker_limit,
            )
        if throughput is not None:
            yield _value(
                "lucidlink_throughput_bytes_per_second",
                "What is read from the filespace",
                throughput.mbps * MIB,
            )


def prefers_prometheus(accept: str) -> bool:
    """Whether an Accept header names a text format before JSON; wildcards mean JSON."""
    weights = _weights(accept)
    text = max((q for kind, q in weights if kind in TEXT_FORMATS), default=0.0)
    json = max((q for kind, q in weights if kind == "application/json"), default=0.0)
    return text > json


def _supported(accept: str) -> str:
    """The header without formats of weight 0 and unknown versions.

    The library would raise on some of these, and claim to support the others.
    """
    parts = accept.split(",")
    return ",".join(
        part for part in parts if _has_supported_version(part) and _weights(part)[0][1] > 0
    )


def _has_supported_version(part: str) -> bool:
    version = VERSION.search(part)
    return version is None or version[1].strip() in VERSIONS


def _weights(accept: str) -> Sequence[tuple[str, float]]:
    """Media types with their weights (RFC 9110, section 12.5.1)."""
    weights = []
    for part in accept.lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        try:
            weights.append((kind, float(quality)))
        except ValueError:
            weights.append((kind, 0.0))
    return weights


def _gauge(name: str, text: str, labels: Sequence[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=labels)


def _value(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"{PREFIX}_{name}", text, value=value)
