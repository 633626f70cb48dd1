"""JSON responses: one serialiser, one shape for errors."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any, Final

import orjson
from aiohttp import ETag, web
from aiohttp.helpers import ETAG_ANY

from gateway.errors import Details
from gateway.shapes.answers import Refusal

CALLER_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def request_id(request: web.BaseRequest) -> str:
    """The caller's own id, so that logs of both sides meet, unless it could forge log lines."""
    sent = request.headers.get("X-Request-ID")
    if sent and CALLER_REQUEST_ID.fullmatch(sent):
        return sent
    return secrets.token_hex(8)


def is_known(tag: ETag, request: web.Request) -> bool:
    """Whether the caller has what the tag stands for: then the answer is 304."""
    return any(known.value in (tag.value, ETAG_ANY) for known in request.if_none_match or ())


def json_response(
    body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
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
    body: Refusal = {"success": False, "error": message}
    if details is not None:
        body["details"] = details
    return json_response(body, status, headers)
