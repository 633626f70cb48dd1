"""JSON responses: one serialiser, one shape for errors, one way to write times and sizes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web

from gateway.errors import Details

SIZE_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


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


def iso_time(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC with milliseconds and Z. A naive ``moment`` is in UTC already."""
    if moment is None:
        return None
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds") + "Z"


def iso_now() -> str:
    """The current time as `iso_time` writes it."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def readable_size(size: int) -> str:
    """A size in bytes for people, by powers of 1024: ``512 B``, ``60.0 GB``, ``966.69 MB``."""
    value, exponent = float(size), 0
    # What rounds to 1024.0 is 1.0 of the next unit.
    while round(value, 2) >= 1024 and exponent < len(SIZE_UNITS) - 1:
        value, exponent = value / 1024, exponent + 1
    unit = SIZE_UNITS[exponent]
    if not exponent:
        return f"{size} {unit}"
    text = f"{value:.2f}"
    return f"{text[:-1] if text.endswith('0') else text} {unit}"
