"""Whether the process lives, and whether it can do its work."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.errors import DatabaseUnavailable
from gateway.handlers.responses import json_response
from gateway.keys import DATABASE, INDEX_STATE, READINESS
from gateway.wire import iso_now

SERVICE = "api-gateway"


async def livez(_request: web.Request) -> web.Response:
    """The process answers; nothing else is touched."""
    return json_response({"success": True, "status": "alive"})


async def health(request: web.Request) -> web.Response:
    """Whether the database answers and jobs can be taken: 200, else 503."""
    readiness = request.app[READINESS]
    if not readiness.database_started.is_set():
        return _unhealthy("starting", "disconnected", readiness.reason or "")
    try:
        await request.app[DATABASE].ping()
    except DatabaseUnavailable as error:
        return _unhealthy("unhealthy", "disconnected", error.message)
    if readiness.reason:
        return _unhealthy("starting", "connected", readiness.reason)
    report = _report("healthy", "connected")
    if index := request.app.get(INDEX_STATE):
        report["index"] = index.report()
    return json_response({"success": True, **report})


def _unhealthy(status: str, database: str, reason: str) -> web.Response:
    body = {"success": False, "error": reason, **_report(status, database)}
    return json_response(body, status=503, headers={"Retry-After": "5"})


def _report(status: str, database: str) -> dict[str, Any]:
    return {
        "status": status,
        "service": SERVICE,
        "database": database,
        "timestamp": iso_now(),
    }
