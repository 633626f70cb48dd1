"""Throughput and S3 health as JSON, or all metrics as Prometheus's text.

In JSON missing values are null: clients read the fields without a check.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from aiohttp import hdrs, web

from gateway.errors import DatabaseUnavailable
from gateway.formatting import iso_now
from gateway.http.app_keys import JOB_STORE, METRICS, PROMETHEUS, READINESS
from gateway.http.responses import json_response
from gateway.job import JobStatus
from gateway.jobs.store import JobStore
from gateway.metrics.prometheus import prefers_prometheus
from gateway.schemas.metrics import S3History
from gateway.schemas.responses import MetricsReport, S3Report
from gateway.schemas.serializers import all_metrics, s3_health

# Prometheus gives up a scrape after ten seconds: a database that hangs must not use all of them.
COUNT_SECONDS: Final = 3.0


async def metrics(request: web.Request) -> web.Response:
    """All metrics at once, in the format that the Accept header prefers."""
    accept = ",".join(request.headers.getall(hdrs.ACCEPT, ()))
    if prefers_prometheus(accept):
        response = await _prometheus(request, accept)
    else:
        figures = all_metrics(request.app[METRICS])
        answer: MetricsReport = {"success": True, "metrics": figures, "timestamp": iso_now()}
        response = json_response(answer)
    response.headers[hdrs.VARY] = hdrs.ACCEPT
    return response


async def s3_metrics(request: web.Request) -> web.Response:
    """S3 health with the history of its latencies, in milliseconds."""
    health = request.app[METRICS].s3_health
    figures: S3History = {**s3_health(health), "latencyHistory": health.latencies}
    answer: S3Report = {"success": True, "s3Health": figures, "timestamp": iso_now()}
    return json_response(answer)


async def _prometheus(request: web.Request, accept: str) -> web.Response:
    jobs: Mapping[JobStatus, int] | None = None
    if request.app[READINESS].is_ready:
        jobs = await _count_jobs(request.app[JOB_STORE])
    body, content_type = request.app[PROMETHEUS].render(accept, jobs)
    # As a header: aiohttp's content_type does not accept its version parameter.
    return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})


async def _count_jobs(job_store: JobStore) -> Mapping[JobStatus, int] | None:
    """Jobs by state; None while the database is away, as the other metrics are still of use."""
    try:
        async with asyncio.timeout(COUNT_SECONDS):
            return await job_store.count_by_status()
    except (DatabaseUnavailable, TimeoutError):
        return None
