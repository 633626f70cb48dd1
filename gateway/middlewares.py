"""The gate: request id, caller, rate limit and errors, in one middleware.

Each middleware costs some microseconds a request, and these four belong together: an error of any
of them is answered in the same shape, with the same headers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway import errors
from gateway.admission import authenticate, draw
from gateway.auth import Access
from gateway.handlers.responses import error_response, request_id
from gateway.keys import ACCESS, CALLER, DECISION, PROMETHEUS, READINESS, REQUEST_ID

log = logging.getLogger(__name__)

# The first class that an error is an instance of decides.
STATUS_OF_ERROR: Final[Mapping[type[errors.GatewayError], int]] = {
    errors.PayloadTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.RequestTimeout: 408,
    errors.UnsupportedWebSocketVersion: 426,
    errors.InvalidRequest: 400,
    errors.Unauthorized: 401,
    errors.PathNotAllowed: 403,
    errors.JobNotFound: 404,
    errors.JobEnded: 409,
    errors.KeyInUse: 409,
    errors.KeyReused: 422,
    errors.RateLimited: 429,
    errors.Unavailable: 503,
}


HTTP_SENTENCES: Final = {404: "Not found", 405: "Method not allowed"}


@web.middleware
async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a request in, or answer why not. Whatever happens, the answer is JSON and has an id."""
    request[REQUEST_ID] = request_id(request)
    started = time.perf_counter()
    try:
        _admit(request)
        response = await handler(request)
    except errors.GatewayError as error:
        response = _answer_error(request, error)
    except web.HTTPException as error:
        response = _answer_http(error)
    except Exception:
        log.exception("request %s failed: %s", request[REQUEST_ID], request.method)
        response = error_response("Internal server error", 500)
    if not response.prepared:
        _add_headers(request, response)
        _count(request, response, time.perf_counter() - started)
    return response


def _admit(request: web.Request) -> None:
    access = request.app[ACCESS].get(request.match_info.handler, Access.PUBLIC)
    if access is Access.PUBLIC:
        return
    caller = request[CALLER] = authenticate(request, request.headers.get("X-API-Key"))
    draw(request, access, caller)
    request.app[READINESS].check()


def _answer_error(request: web.Request, error: errors.GatewayError) -> web.Response:
    for kind, status in STATUS_OF_ERROR.items():
        if isinstance(error, kind):
            headers = {}
            if isinstance(error, errors.RateLimited | errors.Unavailable):
                headers["Retry-After"] = str(error.retry_after)
            if isinstance(error, errors.UnsupportedWebSocketVersion):
                headers[hdrs.SEC_WEBSOCKET_VERSION] = "13"
            return error_response(error.message, status, error.details, headers)
    log.error("request %s failed: %s", request[REQUEST_ID], error, exc_info=error)
    return error_response("Internal server error", 500)


def _answer_http(error: web.HTTPException) -> web.StreamResponse:
    """aiohttp's own answers (404, 405, a refused CORS preflight) in our shape."""
    if error.status < 400:
        return error
    sentence = HTTP_SENTENCES.get(error.status) or (error.text or error.reason).strip()
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
    return error_response(sentence, error.status, headers=headers)


def _count(request: web.Request, response: web.StreamResponse, seconds: float) -> None:
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "none"
    request.app[PROMETHEUS].count_request(request.method, route, response.status, seconds)


def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["X-Request-ID"] = request[REQUEST_ID]
    if decision := request.get(DECISION):
        # Fields of the IETF draft "RateLimit header fields for HTTP".
        policy = f'"{decision.policy}"'
        response.headers["RateLimit-Policy"] = f"{policy};q={decision.limit};w=60"
        response.headers["RateLimit"] = f"{policy};r={decision.remaining};t={decision.reset_after}"
