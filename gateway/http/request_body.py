"""What a request says, read with care: its JSON body."""

from __future__ import annotations

import asyncio
from typing import Annotated, TypeVar

import orjson
from aiohttp import ClientPayloadError, HttpVersion11, hdrs, web
from pydantic import BaseModel, FailFast, Field, StrictStr, ValidationError

from gateway.app_keys import BODY
from gateway.errors import (
    InvalidRequest,
    PayloadTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
)
from gateway.formatting import escaped
from gateway.http.responses import error_response, request_id
from gateway.runtime.offload import run_in_thread_if_large

BODY_LIMIT = 10 * 1024 * 1024
# Without a byte, and in all, with one more second for each so many bytes that came: whoever sends
# a body ever so slowly would keep a connection for ever.
BODY_SECONDS = 30.0
BODY_RATE = 4096
ENCODINGS = ("identity", "gzip", "deflate")
ENCODINGS_SENTENCE = "Content-Encoding must be identity, gzip or deflate"
UNKNOWN_SHOWN = 20
NAME_SHOWN = 100
# A body of 256 KB is large, see `run_in_thread_if_large`.
BYTES_PER_ITEM = 128

Model = TypeVar("Model", bound=BaseModel)
# Ten megabytes hold millions of wrong names: the first one is enough to say.
AnyNames = Annotated[list[StrictStr], FailFast()]
# What an empty name means is told by those who resolve paths; the description says that it is none.
Name = Annotated[StrictStr, Field(json_schema_extra={"minLength": 1})]
Names = Annotated[list[Name], FailFast()]


async def expect(request: web.Request) -> web.Response | None:
    """Answer an Expect header: go on, or 417. aiohttp asks this before any middleware."""
    if request.version < HttpVersion11:
        return None
    if request.headers.get(hdrs.EXPECT, "").strip().lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # The head of the answer proper is yet to be written.
        request.writer.output_size = 0
        return None
    headers = {"X-Request-ID": request_id(request)}
    return error_response("Expect must be 100-continue", 417, headers=headers)


async def read_json(request: web.Request, model: type[Model]) -> Model:
    """The request's JSON body as ``model``.

    Raises `UnsupportedMediaType`, `PayloadTooLarge` (over 10,485,760 bytes), `RequestTimeout`,
    `InvalidRequest`.
    """
    if request.content_type != "application/json":
        raise UnsupportedMediaType
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower() not in ENCODINGS:
        raise UnsupportedMediaType(ENCODINGS_SENTENCE)
    body = request[BODY] if BODY in request else await read_body(request)
    return await run_in_thread_if_large(len(body) // BYTES_PER_ITEM, _parse, body, model)


def _parse(text: bytes, model: type[Model]) -> Model:
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise InvalidRequest("The request body must be a JSON object")
    unknown = [name for name in body if name not in model.model_fields]
    known = {name: value for name, value in body.items() if name in model.model_fields}
    allowed = ", ".join(sorted(model.model_fields))
    problems = [
        f"Unknown field: {_shorten(name)} (allowed: {allowed})" for name in unknown[:UNKNOWN_SHOWN]
    ]
    try:
        wanted = model.model_validate(known)
    except ValidationError as error:
        problems = [*_explain(error), *problems]
    if problems:
        raise InvalidRequest(problems[0], problems if len(problems) > 1 else None)
    return wanted


async def read_body(request: web.Request) -> bytes:
    """Read the body ourselves: a host that embeds us sets a limit of its own on its requests.

    Raises `PayloadTooLarge` (over 10,485,760 bytes), `RequestTimeout`, `InvalidRequest`.
    """
    if (request.content_length or 0) > BODY_LIMIT:
        raise PayloadTooLarge
    body, started = bytearray(), asyncio.get_running_loop().time()
    try:
        while chunk := await _read_chunk(request, started + len(body) / BODY_RATE):
            body += chunk
            if len(body) > BODY_LIMIT:
                raise PayloadTooLarge
    except (web.RequestPayloadError, ClientPayloadError, ConnectionError):
        raise InvalidRequest("The request body is cut off or damaged") from None
    return bytes(body)


async def _read_chunk(request: web.Request, since: float) -> bytes:
    """What has come, waiting for half a minute, and not beyond half a minute after ``since``."""
    since = min(since, asyncio.get_running_loop().time())
    try:
        async with asyncio.timeout_at(since + BODY_SECONDS):
            return await request.content.readany()
    except TimeoutError:
        raise RequestTimeout from None


def _explain(error: ValidationError) -> list[str]:
    return [
        _sentence(".".join(map(str, item["loc"])), item["msg"])
        for item in error.errors(include_input=False, include_url=False)
    ]


def _sentence(field: str, reason: str) -> str:
    reason = reason.removeprefix("Value error, ").removeprefix("Input ")
    return f"{field}: {reason}" if field else reason


def _shorten(name: str) -> str:
    """A name that a stranger chose, on one line and no longer than a name needs to be."""
    shown = name if len(name) <= NAME_SHOWN else f"{name[:NAME_SHOWN]}…"
    return escaped(shown)
