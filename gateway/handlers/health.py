"""Liveness and health."""

from __future__ import annotations

from typing import Literal

from aiohttp import web

from gateway.database.full_disk import SENTENCE
from gateway.errors import DatabaseUnavailable
from gateway.formatting import iso_now
from gateway.http.app_keys import DATABASE, INDEX_STATE, READINESS
from gateway.http.responses import json_response
from gateway.schemas.responses import Alive, Health, UnhealthyResponse

SERVICE = "api-gateway"


async def livez(_request: web.Request) -> web.Response:
    """The process answers; nothing else is touched."""
    answer: Alive = {"success": True, "status": "alive"}
    return json_response(answer)


async def health(request: web.Request) -> web.Response:
    """Whether the database answers and jobs can be taken: 200, else 503.

    200 also while its disk is full, and ``degraded`` says so: jobs can still be read and watched,
    and no other gateway on this database could do better.
    """
    readiness = request.app[READINESS]
    if not readiness.database_started.is_set():
        return _unhealthy("starting", "disconnected", readiness.reason or "")
    try:
        await request.app[DATABASE].ping()
    except DatabaseUnavailable as error:
        return _unhealthy("unhealthy", "disconnected", error.message)
    if readiness.reason:
        return _unhealthy("starting", "connected", readiness.reason)
    answer: Health = {
        "success": True,
        "status": "healthy",
        "service": SERVICE,
        "database": "connected",
        "timestamp": iso_now(),
    }
    if request.app[DATABASE].full_disk.is_full:
        answer["degraded"] = SENTENCE
    if index := request.app.get(INDEX_STATE):
        answer["index"] = index.report()
    return json_response(answer)


def _unhealthy(
    status: Literal["starting", "unhealthy"],
    database: Literal["connected", "disconnected"],
    reason: str,
) -> web.Response:
    answer: UnhealthyResponse = {
        "success": False,
        "error": reason,
        "status": status,
        "service": SERVICE,
        "database": database,
        "timestamp": iso_now(),
    }
    return json_response(answer, status=503, headers={"Retry-After": "5"})
