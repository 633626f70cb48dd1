"""One HTTP connection of the gateway's own listener, bounded in time, its errors in JSON.

A gateway that is mounted in another application is served by that application's connections.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from time import monotonic
from typing import Any, Final, cast

import orjson
from aiohttp import StreamReader, web
from aiohttp.http import HttpProcessingError
from aiohttp.http_exceptions import ContentEncodingError, LineTooLong

from gateway.http.app_keys import REQUEST_ID
from gateway.http.request_body import ENCODINGS_SENTENCE
from gateway.http.responses import error_response, request_id
from gateway.runtime.descriptors import FileDescriptorMonitor, descriptor_limit
from gateway.server.connection_limit import HEALTH_ONLY_PLACES, Admission, ConnectionLimiter
from gateway.settings import Settings

HEAD_SECONDS: Final = 30.0
# The client has to take an answer in ANSWER_SECONDS, plus a second for each ANSWER_RATE bytes.
ANSWER_SECONDS: Final = 30.0
ANSWER_RATE: Final = 4096
# What is answered beyond the limit: operators and load balancers look at these.
HEALTH_PATHS: Final = frozenset({"/livez", "/api/v1/health"})
FULL_SENTENCE: Final = "The gateway has as many connections as it can serve, try again later"
RETRY_SECONDS: Final = "5"
# Where even the health-only places are taken; nothing is read of the request.
REFUSAL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
    b"Connection: close\r\nRetry-After: %b\r\nContent-Length: %d\r\n\r\n%b"
)
# Descriptors that are no connections: the database's, the files being read, logs, the listener.
RESERVED_DESCRIPTORS: Final = 64

RequestHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class HttpConnection(web.RequestHandler):
    """A client's connection. It is closed if the head of a request takes more than 30 seconds.

    So it is if the client takes its answer more slowly than 4 KiB/s, after 30 seconds. WebSockets
    have their own rule, see `gateway.events.send_buffer`.
    """

    __slots__ = (
        "_active_at",
        "_answer_by",
        "_answered",
        "_connections",
        "_descriptors",
        "_head_begun_at",
        "_head_timer",
        "_in_flight",
        "_is_websocket",
        "_requests",
        "_unread_body",
        "_wire",
        "is_health_only",
    )

    def __init__(
        self,
        server: web.Server,
        descriptors: FileDescriptorMonitor,
        connections: ConnectionLimiter,
        **options: Any,
    ) -> None:
        super().__init__(server, **options)
        self._descriptors = descriptors
        self._connections = connections
        self.is_health_only = False
        self._requests = 0
        self._in_flight = False
        self._is_websocket = False
        self._unread_body: StreamReader | None = None
        self._active_at = monotonic()
        self._head_begun_at: float | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        # aiohttp drops its reference on closing, but the client may take long to read the rest.
        self._wire: asyncio.Transport | None = None
        self._answered = -1
        self._answer_by = math.inf

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the limiter for a place, and wait for the first head."""
        self._wire = cast(asyncio.Transport, transport)
        connection = transport.get_extra_info("socket")
        if connection is not None:
            self._descriptors.check(connection.fileno())
        place = self._connections.add(self)
        if place is Admission.REJECTED:
            self._refuse(self._wire)
            return
        self.is_health_only = place is Admission.HEALTH_ONLY
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Free the place."""
        self._connections.discard(self)
        if self._head_timer is not None:
            self._head_timer.cancel()
        super().connection_lost(exc)
        self._wire = None

    def data_received(self, data: bytes) -> None:
        """Parse the bytes, and limit the time of each head."""
        is_head = bool(data) and self._head_begun_at is None and self._is_idle
        self._take(data)
        self._active_at = monotonic()
        if is_head:
            self._wait_for_head()

    def begin_request(self) -> None:
        """Note that a request is in flight, until `log_access`."""
        self._requests += 1
        self._in_flight = True
        self._head_begun_at = None

    def log_access(
        self, request: web.BaseRequest, response: web.StreamResponse, time: float | None
    ) -> None:
        """Log the request, and note that it has its answer."""
        super().log_access(request, response, time)
        # aiohttp reads what is left of an answered request's body before the next request.
        self._unread_body = None if request.content.is_eof() else request.content
        self._in_flight = False
        self._active_at = monotonic()

    def set_parser(self, *arguments: Any, **options: Any) -> None:
        """Note that the connection is a WebSocket from now on."""
        self._is_websocket = True
        super().set_parser(*arguments, **options)

    def _take(self, data: bytes) -> None:
        """Feed the parser, even while the server stops if a request is in flight.

        aiohttp drops the data then, and the request would wait in vain for the rest of its body.
        """
        if not (self._close or self._force_close):
            super().data_received(data)
            return
        flags = self._close, self._force_close
        if self._in_flight or self._messages:
            self._close = self._force_close = False
        try:
            super().data_received(data)
        finally:
            # Nothing reads the flags in between: parsed requests wait for the event loop.
            self._close, self._force_close = flags

    @property
    def idle_since(self) -> float | None:
        """When the last byte came or went, in monotonic seconds; None while it has a request."""
        return self._active_at if self._is_idle else None

    def look_after_answer(self, now: float) -> None:
        """Abort the connection if the client is late to take its answer. ``now`` is monotonic."""
        wire = self._wire
        left = 0 if wire is None else wire.get_write_buffer_size()
        if wire is None or not left or (self._is_websocket and not wire.is_closing()):
            self._answered = -1
        elif self._answered != self._requests:
            self._answered = self._requests
            self._answer_by = now + ANSWER_SECONDS + left / ANSWER_RATE
        elif now > self._answer_by:
            wire.abort()

    @property
    def _is_idle(self) -> bool:
        """Whether it waits for the head of a request."""
        body = self._unread_body
        return not self._in_flight and (body is None or body.is_eof())

    def _wait_for_head(self) -> None:
        self._head_begun_at = monotonic()
        # One timer for many heads: to start and stop one for each costs as much as to parse it.
        if self._head_timer is None:
            self._check_head_after(HEAD_SECONDS)

    def _check_head_after(self, seconds: float) -> None:
        self._head_timer = asyncio.get_running_loop().call_later(seconds, self._check_head)

    def _check_head(self) -> None:
        self._head_timer = None
        if self._head_begun_at is None:
            return
        left = self._head_begun_at + HEAD_SECONDS - monotonic()
        if left > 0:
            self._check_head_after(left)
        else:
            self.force_close()

    def _refuse(self, transport: asyncio.Transport) -> None:
        self.force_close()
        body = orjson.dumps({"success": False, "error": FULL_SENTENCE})
        transport.write(REFUSAL % (RETRY_SECONDS.encode(), len(body), body))
        transport.close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer an error of the parser, or one outside the middleware, in JSON."""
        # This logs, and raises if an answer was begun. Its response may echo untrusted input.
        super().handle_error(request, status, exc, message)
        request[REQUEST_ID] = request.get(REQUEST_ID) or request_id(request)
        sentence, status = _describe(exc, status)
        headers = {"X-Request-ID": request[REQUEST_ID]}
        response = error_response(sentence, status, headers=headers)
        response.force_close()
        return response


def _describe(error: BaseException | None, status: int) -> tuple[str, int]:
    if isinstance(error, ContentEncodingError):
        return ENCODINGS_SENTENCE, 415
    if isinstance(error, LineTooLong):
        return "The request's head has a line that is too long", status
    if isinstance(error, HttpProcessingError):
        return "The request is not valid HTTP", status
    return HTTPStatus(status).phrase.capitalize(), status


def connection_factory(
    server: web.Server, settings: Settings, **options: Any
) -> Callable[[], HttpConnection]:
    """Make the connections of ``server``; ``options`` are those of `web.RequestHandler`.

    Wraps ``server.request_handler``, to count requests and to limit connections to health.
    """
    loop, watch = asyncio.get_running_loop(), FileDescriptorMonitor()
    connections = ConnectionLimiter(connections_limit(settings))
    answer: RequestHandler = server.request_handler

    def begin(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        connection = cast(HttpConnection, request.protocol)
        connection.begin_request()
        return _answer_health(request, answer) if connection.is_health_only else answer(request)

    server.request_handler = begin
    return lambda: HttpConnection(server, watch, connections, loop=loop, **options)


async def _answer_health(request: web.BaseRequest, answer: RequestHandler) -> web.StreamResponse:
    if request.path in HEALTH_PATHS:
        response = await answer(request)
    else:
        headers = {"Retry-After": RETRY_SECONDS, "X-Request-ID": request_id(request)}
        response = error_response(FULL_SENTENCE, 503, headers=headers)
    response.force_close()
    return response


def connections_limit(settings: Settings) -> int:
    """The limit of connections: ``max_connections``, or fewer if descriptors are few."""
    readers = settings.worker_concurrency * len(settings.mount_points)
    left = (
        descriptor_limit()
        - RESERVED_DESCRIPTORS
        - settings.db_pool_size
        - readers
        - HEALTH_ONLY_PLACES
    )
    return int(max(1, min(settings.max_connections, left)))
