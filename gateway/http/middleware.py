"""The only middleware: request id, admission, errors, audit log and counts.

Each middleware costs some microseconds a request, and an error of any of these steps is answered
in the same shape with the same headers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway import errors
from gateway.auth.access import Access
from gateway.auth.signatures import ACCEPT_SIGNATURE
from gateway.http.app_keys import (
    AUDIT_LOG,
    CALLER,
    CLIENT_ADDRESS,
    DECISION,
    NOTES,
    PROMETHEUS,
    REFUSAL,
    REQUEST_ID,
    ROUTES,
    SIGNATURE,
    TOKENS,
)
from gateway.http.authentication import admit, authenticate, authenticate_request
from gateway.http.cors import answer_options
from gateway.http.forwarded import note_client_address
from gateway.http.responses import NOSNIFF, error_response, request_id
from gateway.http.signed_body import check_signed_body
from gateway.job import parse_job_id
from gateway.logs.audit import Outcome

log = logging.getLogger(__name__)

# The first class that matches decides.
STATUS_OF_ERROR: Final[Mapping[type[errors.GatewayError], int]] = {
    errors.PayloadTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.RequestTimeout: 408,
    errors.UnsupportedWebSocketVersion: 426,
    errors.InvalidRequest: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.JobNotFound: 404,
    errors.JobEnded: 409,
    errors.KeyInUse: 409,
    errors.KeyReused: 422,
    errors.RateLimited: 429,
    errors.Unavailable: 503,
}


CHALLENGE: Final = 'Bearer realm="teamcache-gateway"'
NO_RIGHT: Final = frozenset({401, 403})
HTTP_SENTENCES: Final = {404: "Not found", 405: "Method not allowed"}


@web.middleware
async def main_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Admit and handle a request. Errors are answered as JSON; each response has a request id."""
    request[REQUEST_ID] = request_id(request)
    note_client_address(request)
    request[NOTES] = {}
    started = time.perf_counter()
    try:
        await _admit(request)
        response = await handler(request)
    except asyncio.CancelledError:
        # The client is gone, and how far the handler came is unknown.
        _audit(request, None)
        raise
    except errors.GatewayError as error:
        request[NOTES]["error"] = error.message
        response = _answer_error(request, error)
    except web.HTTPException as error:
        response = _answer_http(request, error)
    except Exception:
        log.exception("request %s failed: %s", request[REQUEST_ID], request.method)
        response = error_response("Internal server error", 500)
    if not response.prepared:
        _add_headers(request, response)
        _count(request, response, time.perf_counter() - started)
    _audit(request, response.status)
    return response


async def _admit(request: web.Request) -> None:
    route = request.app[ROUTES].get(request.match_info.handler)
    if route is None or route.access is Access.PUBLIC:
        return
    if CALLER in request:
        # The fast path has drawn its token and found the refusal, if any.
        if REFUSAL in request:
            raise request.pop(REFUSAL)
        return
    caller = await authenticate_request(request) or authenticate(request, None)
    admit(request, request.app, caller, route.access, route.scope)
    if SIGNATURE in request:
        await check_signed_body(request)


def _audit(request: web.Request, status: int | None) -> None:
    """Log each request that changes something, and reads only if they are refused (401, 403)."""
    route = request.app[ROUTES].get(request.match_info.handler)
    event = route.event if route else None
    if event is None and status not in NO_RIGHT:
        return
    caller = request.get(CALLER)
    if status == 429 and caller is None:
        # An unauthenticated client could fill the disk. Its first ten failures a minute are logged.
        return
    notes = request[NOTES]
    notes.setdefault("jobId", _job_id(request))
    request.app[AUDIT_LOG].write(
        event or "request",
        _outcome(status),
        caller.key_name if caller else None,
        request[CLIENT_ADDRESS],
        requestId=request[REQUEST_ID],
        method=request.method,
        route=_route(request),
        status=status,
        **notes,
    )


def _job_id(request: web.Request) -> str | None:
    """The job id in the URL; None if it is none, as it may be a secret."""
    try:
        return parse_job_id(request.match_info.get("job_id", ""))
    except errors.InvalidRequest:
        return None


def _outcome(status: int | None) -> Outcome:
    if status is None:
        return "unknown"
    if status >= 500:
        return "failed"
    if status >= 400:
        return "refused"
    return "created" if status == 201 else "done"


def _answer_error(request: web.Request, error: errors.GatewayError) -> web.Response:
    for kind, status in STATUS_OF_ERROR.items():
        if isinstance(error, kind):
            headers = {}
            if isinstance(error, errors.RateLimited | errors.Unavailable):
                headers["Retry-After"] = str(error.retry_after)
            if status in NO_RIGHT and TOKENS in request.app:
                headers[hdrs.WWW_AUTHENTICATE] = _challenge(error)
            if isinstance(error, errors.InvalidSignature):
                headers["Accept-Signature"] = f"sig={ACCEPT_SIGNATURE}"
            if isinstance(error, errors.UnsupportedWebSocketVersion):
                headers[hdrs.SEC_WEBSOCKET_VERSION] = "13"
            return error_response(error.message, status, error.details, headers)
    log.error("request %s failed: %s", request[REQUEST_ID], error, exc_info=error)
    return error_response("Internal server error", 500)


def _challenge(error: errors.GatewayError) -> str:
    """The value of WWW-Authenticate by RFC 6750, section 3."""
    if isinstance(error, errors.InvalidToken):
        return f'{CHALLENGE}, error="invalid_token", error_description="{error.message}"'
    if isinstance(error, errors.ScopeMissing):
        return f'{CHALLENGE}, error="insufficient_scope"'
    return CHALLENGE


def _answer_http(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    """aiohttp's own responses (404, 405, a refused CORS preflight) in the gateway's JSON shape."""
    if error.status < 400:
        return error
    if options := answer_options(request):
        return options
    sentence = HTTP_SENTENCES.get(error.status) or (error.text or error.reason).strip()
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
    return error_response(sentence, error.status, headers=headers)


def _count(request: web.Request, response: web.StreamResponse, seconds: float) -> None:
    counts = request.app[PROMETHEUS].requests
    counts.count(request.method, _route(request), response.status, seconds)


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"


def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["X-Request-ID"] = request[REQUEST_ID]
    response.headers.update(NOSNIFF)
    if decision := request.get(DECISION):
        response.headers.update(decision.fields)
