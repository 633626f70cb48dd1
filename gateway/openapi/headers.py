"""The headers of answers, and what each error's status means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

Schema = dict[str, Any]

ALWAYS: Final = ("X-Request-ID",)
# Only where something is limited: they are never promised.
LIMITED: Final = ("RateLimit", "RateLimit-Policy")
TAGGED: Final = ("ETag", "Cache-Control")
TRY_AGAIN: Final = frozenset({429, 503})

_TEXT: Final = MappingProxyType({"type": "string"})


def _header(description: str, schema: Mapping[str, Any] = _TEXT, required: bool = True) -> Schema:
    return {"description": description, "schema": dict(schema), "required": required}


HEADERS: Final[Mapping[str, Schema]] = MappingProxyType(
    {
        "X-Request-ID": _header("The caller's own id if it sent a fit one, else one of ours."),
        "Location": _header("Where the job is.", {"type": "string", "format": "uri-reference"}),
        "ETag": _header("The state as a tag, to be sent back in `If-None-Match`."),
        "Cache-Control": _header("Whether and how the answer may be kept."),
        "Vary": _header("The request headers that the answer depends on."),
        "Retry-After": _header("Seconds to wait.", {"type": "integer", "minimum": 1}),
        "Sec-WebSocket-Version": _header("The version of WebSocket to use."),
        "RateLimit": _header(
            "The limit's name, requests left (`r`), and seconds until all are back (`t`).",
            required=False,
        ),
        "RateLimit-Policy": _header(
            "The limit's name, requests (`q`) in a window of seconds (`w`).", required=False
        ),
    }
)

# By status: what the errors say that are answered with it.
REFUSALS: Final[Mapping[int, str]] = MappingProxyType(
    {
        400: "What was sent cannot be understood, or names nothing that there is.",
        401: "No API key was sent, or a wrong one.",
        403: "A path lies outside of what may be cached here.",
        404: "There is no such thing.",
        408: "The request's body did not arrive in time.",
        409: "The job has ended.",
        413: "The request's body is larger than 10,485,760 bytes, or lists too much.",
        415: "The request's body is not JSON, or packed in a way that is not understood.",
        417: "The request's `Expect` is not understood.",
        426: "The client speaks another version of WebSocket.",
        429: "Too many requests, or too many wrong keys: come back later.",
        500: "A fault of the gateway's own.",
        503: "The gateway is starting, or its database is away or busy: come back later.",
    }
)


def headers_of(status: int, is_limited: bool, own: Sequence[str]) -> Sequence[str]:
    """The names of the headers that an answer has."""
    again = ("Retry-After",) if status in TRY_AGAIN else ()
    version = ("Sec-WebSocket-Version",) if status == 426 else ()
    limits = LIMITED if is_limited or status == 429 else ()
    return (*ALWAYS, *own, *again, *version, *limits)
