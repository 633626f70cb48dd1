"""JSON responses: one serialiser, one shape for errors."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import orjson
from aiohttp import hdrs, web
from aiohttp.helpers import ETAG_ANY

from gateway.errors import Details
from gateway.schemas.responses import Refusal

DETAILS_SHOWN: Final = 1000
# For one caller, who revalidates each time.
NO_CACHE: Final[Mapping[str, str]] = MappingProxyType({"Cache-Control": "private, no-cache"})
# Browsers must not guess another content type.
NOSNIFF: Final[Mapping[str, str]] = MappingProxyType({"X-Content-Type-Options": "nosniff"})
CALLER_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def request_id(request: web.BaseRequest) -> str:
    """The caller's X-Request-ID, or a random one if it is missing or could forge log lines."""
    sent = request.headers.get("X-Request-ID")
    if sent and CALLER_REQUEST_ID.fullmatch(sent):
        return sent
    # Not a secret; the system's randomness costs a system call.
    return f"{random.getrandbits(64):016x}"


def is_known(tag: str, request: web.BaseRequest) -> bool:
    """Whether If-None-Match has the tag (an ETag header): then the answer is 304."""
    header = request.headers.get(hdrs.IF_NONE_MATCH)
    if header is None or header == tag:
        return header is not None
    value = tag.removeprefix("W/").strip('"')
    return any(sent.value in (value, ETAG_ANY) for sent in request.if_none_match or ())


def json_response(
    body: Mapping[str, Any] | bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A response with ``body`` as JSON; bytes are JSON already."""
    if not isinstance(body, bytes):
        body = orjson.dumps(body)
    return web.Response(
        body=body, status=status, headers={**(headers or {}), "Content-Type": "application/json"}
    )


def error_response(
    message: str,
    status: int,
    details: Details | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """``{"success": false, "error": message}``, with ``details`` where there are any.

    A list is cut after 1,000; the message says how many there are.
    """
    body: Refusal = {"success": False, "error": message}
    if details is not None:
        body["details"] = details if isinstance(details, Mapping) else details[:DETAILS_SHOWN]
    return json_response(body, status, headers)
