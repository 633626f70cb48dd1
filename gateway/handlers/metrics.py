"""Throughput and S3 health. Nulls inside: clients read the fields without looking first."""

from __future__ import annotations

from aiohttp import web

from gateway.handlers.responses import json_response
from gateway.keys import METRICS
from gateway.wire import all_metrics, iso_now, s3_health


async def metrics(request: web.Request) -> web.Response:
    """All metrics at once."""
    figures = all_metrics(request.app[METRICS])
    return json_response({"success": True, "metrics": figures, "timestamp": iso_now()})


async def s3_metrics(request: web.Request) -> web.Response:
    """S3 health with the history of its latencies, in milliseconds."""
    health = request.app[METRICS].s3_health
    body = {**s3_health(health), "latencyHistory": health.latencies}
    return json_response({"success": True, "s3Health": body, "timestamp": iso_now()})
