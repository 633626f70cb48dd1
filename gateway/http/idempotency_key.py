"""The Idempotency-Key of a request: by what a request that is sent again is recognised."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

import orjson
from aiohttp import web

from gateway.errors import InvalidRequest
from gateway.http.app_keys import CALLER
from gateway.jobs.idempotency import IdempotentRequest
from gateway.openapi.parameters import HeaderParameter
from gateway.runtime.offload import run_in_thread_if_large

# A string as RFC 8941 (structured fields) writes it, or the same without quotes: then without
# spaces, and without what would begin another item or a parameter.
_PATTERN: Final = r'^("([ !#-\[\]-~]|\\["\\]){1,255}"|[!#-+\--:<-\[\]-~]{1,255})$'
_VALUE: Final = re.compile(_PATTERN)
_ESCAPED: Final = re.compile(r'\\(["\\])')

IDEMPOTENCY_KEY: Final = HeaderParameter(
    "Idempotency-Key",
    "A name of the caller's own for this request, such as a UUID, so that it may be sent again when"
    " no answer came: what was answered 201 is answered so again within 24 hours, and no second job"
    ' is created. A string (`"…"`), or the same without quotes: 1 to 255 printable characters of'
    " ASCII.",
    {"type": "string", "pattern": _PATTERN, "examples": ["6bb4629b-1487-477c-96fe-b762d82a099b"]},
)


def read_idempotency_key(request: web.Request) -> str | None:
    """The key that the request has; None if it has none. Raises `InvalidRequest`."""
    sent = request.headers.getall(IDEMPOTENCY_KEY.name, ())
    if not sent:
        return None
    if len(sent) > 1 or not _VALUE.fullmatch(sent[0]):
        raise InvalidRequest(
            "Idempotency-Key must be one string of 1 to 255 printable ASCII characters"
        )
    value = sent[0]
    return _ESCAPED.sub(r"\1", value[1:-1]) if value.startswith('"') else value


async def identify(
    request: web.Request, key: str, amount: int, wanted: Mapping[str, Any]
) -> IdempotentRequest:
    """The request as one that may be repeated; ``wanted`` is its body, about ``amount`` things."""
    fingerprint = await run_in_thread_if_large(amount, _digest, wanted)
    return IdempotentRequest(request[CALLER].key_name, key, fingerprint)


def _digest(wanted: Mapping[str, Any]) -> str:
    return sha256(orjson.dumps(wanted, option=orjson.OPT_SORT_KEYS)).hexdigest()
