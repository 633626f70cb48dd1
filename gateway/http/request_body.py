"""A request's JSON body, read within limits of size and time."""

from __future__ import annotations

import asyncio
from typing import Annotated, TypeVar

import orjson
from aiohttp import ClientPayloadError, HttpVersion11, hdrs, web
from pydantic import BaseModel, FailFast, Field, StrictStr, ValidationError

from gateway.errors import (
    InvalidRequest,
    PayloadTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
)
from gateway.formatting import escaped
from gateway.http.app_keys import BODY
from gateway.http.responses import error_response, request_id
from gateway.runtime.offload import run_in_thread_if_large

BODY_LIMIT = 10 * 1024 * 1024
# A body may pause for BODY_SECONDS, and takes BODY_SECONDS in all plus a second for each BODY_RATE
# bytes received: a client that drips bytes must not hold a connection for ever.
BODY_SECONDS = 30.0
BODY_RATE = 4096
ENCODINGS = ("identity", "gzip", "deflate")
ENCODINGS_SENTENCE = "Content-Encoding must be identity, gzip or deflate"
UNKNOWN_SHOWN = 20
NAME_SHOWN = 100
# A body of 256 KB is large, see `run_in_thread_if_large`.
BYTES_PER_ITEM = 128

Model = TypeVar("Model", bound=BaseModel)
# Ten megabytes hold millions of wrong names: only the first one is reported.
AnyNames = Annotated[list[StrictStr], FailFast()]
# The path resolver reports empty names; minLength is for the API description alone.
Name = Annotated[StrictStr, Field(json_schema_extra={"minLength": 1})]
Names = Annotated[list[Name], FailFast()]


async def expect(request: web.Request) -> web.Response | None:
    """Answer an Expect header with 100 or 417. aiohttp calls this before any middleware."""
    if request.version < HttpVersion11:
        return None
    if request.headers.get(hdrs.EXPECT, "").strip().lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # The head of the response is yet to be written.
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
    fields = {name: value for name, value in body.items() if name in model.model_fields}
    allowed = ", ".join(sorted(model.model_fields))
    problems = [
        f"Unknown field: {_shorten(name)} (allowed: {allowed})" for name in unknown[:UNKNOWN_SHOWN]
    ]
    try:
        parsed = model.model_validate(fields)
    except ValidationError as error:
        problems = [*_explain(error), *problems]
    if problems:
        raise InvalidRequest(problems[0], problems if len(problems) > 1 else None)
    return parsed


async def read_body(request: web.Request) -> bytes:
    """The request's body.

    Not `web.Request.read`, which has the size limit of the host application. Raises
    `PayloadTooLarge` (over 10,485,760 bytes), `RequestTimeout`, `InvalidRequest`.
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
    """The next bytes; waits `BODY_SECONDS`, but not beyond `BODY_SECONDS` after ``since``."""
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
    """A name of untrusted input, on one line and cut after `NAME_SHOWN` letters."""
    short = name if len(name) <= NAME_SHOWN else f"{name[:NAME_SHOWN]}…"
    return escaped(short)
