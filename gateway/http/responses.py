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
# What is shown to one caller, who asks again each time whether it still holds.
NO_CACHE: Final[Mapping[str, str]] = MappingProxyType({"Cache-Control": "private, no-cache"})
# A content type is what it says: nobody shall guess another.
NOSNIFF: Final[Mapping[str, str]] = MappingProxyType({"X-Content-Type-Options": "nosniff"})
CALLER_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def request_id(request: web.BaseRequest) -> str:
    """The caller's own id, so that logs of both sides meet, unless it could forge log lines."""
    sent = request.headers.get("X-Request-ID")
    if sent and CALLER_REQUEST_ID.fullmatch(sent):
        return sent
    # A name and no secret: the system's randomness costs a system call.
    return f"{random.getrandbits(64):016x}"


def is_known(tag: str, request: web.BaseRequest) -> bool:
    """Whether the caller has what the tag, an ETag header, stands for: then the answer is 304."""
    sent = request.headers.get(hdrs.IF_NONE_MATCH)
    if sent is None or sent == tag:
        return sent is not None
    value = tag.removeprefix("W/").strip('"')
    return any(known.value in (value, ETAG_ANY) for known in request.if_none_match or ())


def json_response(
    body: Mapping[str, Any] | bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A response with ``body`` as JSON, which it already is if it is bytes."""
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

    Of a list of them the first 1,000: a request may name so much that is wrong that no client would
    want to hear of it. The message says how many there are.
    """
    body: Refusal = {"success": False, "error": message}
    if details is not None:
        body["details"] = details if isinstance(details, Mapping) else details[:DETAILS_SHOWN]
    return json_response(body, status, headers)
