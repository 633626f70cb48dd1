"""The reference of metrics: from what a gateway answers to Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.parser import text_string_to_metric_families

from docs.markdown import code, table, words
from gateway.database import Database
from gateway.events.send_buffer import SendBuffers
from gateway.job import JobStatus
from gateway.metrics.heartbeat import Heartbeat
from gateway.metrics.latest import Metrics
from gateway.metrics.prometheus import PrometheusMetrics
from gateway.settings import Settings

# A histogram's samples have one more, and names with an ending.
BUCKET = "le"


def metrics_text() -> str:
    """What a scrape answers when everything is measured that there is."""
    return asyncio.run(_scrape())


async def _scrape() -> str:
    settings = Settings()
    metrics = Metrics(settings.s3_region)
    metrics.s3_health = metrics.s3_health.after_check(41, None)
    metrics.measure_throughput(25.6)
    metrics.worker_limit = 200_000_000
    prometheus = PrometheusMetrics(Database(settings), metrics, SendBuffers())
    prometheus.heartbeats["schema"] = Heartbeat()
    prometheus.requests.count("GET", "/livez", 200, 0.001)
    text, _content_type = prometheus.render("text/plain", dict.fromkeys(JobStatus, 0))
    return text.decode()


def series() -> Mapping[str, tuple[str, str, Sequence[str]]]:
    """Each series by its name in queries: its kind, what it says, its labels."""
    return dict(_series())


def _series() -> Iterator[tuple[str, tuple[str, str, Sequence[str]]]]:
    for family in text_string_to_metric_families(metrics_text()):
        if family.name.endswith("_created"):
            continue
        labels = sorted({name for it in family.samples for name in it.labels} - {BUCKET})
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield name, (family.type, family.documentation, labels)


def metrics_reference() -> str:
    """A table of them."""
    return table(
        ["Series", "Labels", "Kind", "What it says"],
        [
            (code(name), ", ".join(map(code, labels)), kind, words(text))
            for name, (kind, text, labels) in series().items()
        ],
    )
