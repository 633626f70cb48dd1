"""The headers of answers, and what each error's status means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from gateway import errors

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
        "Idempotency-Replayed": _header(
            "Whether this is the answer that the `Idempotency-Key` got before.",
            {"type": "string", "const": "true"},
            required=False,
        ),
        "ETag": _header("The state as a tag, to be sent back in `If-None-Match`."),
        "Cache-Control": _header("Whether and how the answer may be kept."),
        "Vary": _header("The request headers that the answer depends on."),
        "Retry-After": _header("Seconds to wait.", {"type": "integer", "minimum": 1}),
        "WWW-Authenticate": _header(
            "What is missing or wrong (RFC 6750), where tokens are taken.", required=False
        ),
        "Accept-Signature": _header(
            "What a signature has to be (RFC 9421), where one was refused.", required=False
        ),
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


class Meaning(NamedTuple):
    """What an error's status means, and a sentence that comes with it."""

    text: str
    example: str


REFUSALS: Final[Mapping[int, Meaning]] = MappingProxyType(
    {
        400: Meaning(
            "What was sent cannot be understood, or names nothing that there is.",
            errors.InvalidRequest.default_message,
        ),
        401: Meaning(
            "No API key, token or signature was sent, or a wrong one.",
            errors.Unauthorized.default_message,
        ),
        403: Meaning(
            "The key is not for this, or a path lies outside of what may be cached.",
            "The path is outside the allowed paths",
        ),
        404: Meaning("There is no such thing.", errors.JobNotFound.default_message),
        408: Meaning(
            "The request's body did not arrive in time.", errors.RequestTimeout.default_message
        ),
        409: Meaning(
            "The job has ended, or a request with the same key is still being answered.",
            "Job has already ended: completed",
        ),
        413: Meaning(
            "The request's body is larger than 10,485,760 bytes, or lists too much.",
            errors.PayloadTooLarge.default_message,
        ),
        415: Meaning(
            "The request's body is not JSON, or packed in a way that is not understood.",
            errors.UnsupportedMediaType.default_message,
        ),
        417: Meaning("The request's `Expect` is not understood.", "Expect must be 100-continue"),
        422: Meaning(
            "The `Idempotency-Key` was sent with another request before.",
            errors.KeyReused.default_message,
        ),
        426: Meaning(
            "The client speaks another version of WebSocket.",
            errors.UnsupportedWebSocketVersion.default_message,
        ),
        429: Meaning(
            "Too many requests, or too many wrong keys: come back later.",
            errors.RateLimited.default_message,
        ),
        500: Meaning("A fault of the gateway's own.", "Internal server error"),
        503: Meaning(
            "The gateway is starting, or its database is away or busy: come back later.",
            errors.DatabaseUnavailable.default_message,
        ),
    }
)


def headers_of(status: int, is_limited: bool, own: Sequence[str]) -> Sequence[str]:
    """The names of the headers that an answer has."""
    again = ("Retry-After",) if status in TRY_AGAIN else ()
    challenge = ("WWW-Authenticate",) if status in (401, 403) else ()
    wanted = ("Accept-Signature",) if status == 401 else ()
    version = ("Sec-WebSocket-Version",) if status == 426 else ()
    limits = LIMITED if is_limited or status == 429 else ()
    return (*ALWAYS, *own, *again, *challenge, *wanted, *version, *limits)
