"""Throughput and S3 health. Nulls inside: clients read the fields without looking first."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.handlers.responses import iso_now, json_response
from gateway.keys import SETTINGS


async def metrics(request: web.Request) -> web.Response:
    """All metrics at once."""
    body = {
        "lucidLink": {"throughputMbps": 0, "timestamp": None},
        "s3Health": _s3_health(request),
    }
    return json_response({"success": True, "metrics": body, "timestamp": iso_now()})


async def s3_metrics(request: web.Request) -> web.Response:
    """S3 health with the history of its latencies, in milliseconds."""
    health = _s3_health(request)
    health["latencyHistory"] = []
    return json_response({"success": True, "s3Health": health, "timestamp": iso_now()})


def _s3_health(request: web.Request) -> dict[str, Any]:
    return {
        "latency": None,
        "averageLatency": None,
        "isHealthy": None,
        "lastCheck": None,
        "checkCount": 0,
        "region": request.app[SETTINGS].s3_region,
    }
