"""JSON responses: one serialiser, one shape for errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from gateway.errors import Details


def json_response(
    body: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A response with ``body`` as JSON."""
    return web.Response(
        body=orjson.dumps(body), status=status, headers=headers, content_type="application/json"
    )


def error_response(
    message: str,
    status: int,
    details: Details | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """``{"success": false, "error": message}``, with ``details`` where there are any."""
    body: dict[str, Any] = {"success": False, "error": message}
    if details is not None:
        body["details"] = details
    return json_response(body, status, headers)
