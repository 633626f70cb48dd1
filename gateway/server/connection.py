"""One HTTP connection of our own listener: what aiohttp's parser refuses is told in our shape.

An application that is mounted in another one is served by its host's connections instead.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, cast

import orjson
from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.http_exceptions import ContentEncodingError, LineTooLong

from gateway.app_keys import REQUEST_ID
from gateway.http.request_body import ENCODINGS_SENTENCE
from gateway.http.responses import error_response, request_id
from gateway.runtime.descriptors import FileDescriptorMonitor, descriptor_limit
from gateway.server.connection_limit import DOOR_PLACES, Admission, ConnectionLimiter
from gateway.settings import Settings

HEAD_SECONDS: Final = 30.0
# An answer has so many seconds to be taken, and one more for each so many bytes of it.
ANSWER_SECONDS: Final = 30.0
ANSWER_RATE: Final = 4096
# What somebody without a place may ask for: whoever runs the gateway looks at these.
DOOR_PATHS: Final = frozenset({"/livez", "/api/v1/health"})
FULL_SENTENCE: Final = "The gateway has as many connections as it can serve, try again later"
RETRY_SECONDS: Final = "5"
# To those who do not even get a place at the door; nothing is read of them.
REFUSAL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
    b"Connection: close\r\nRetry-After: %b\r\nContent-Length: %d\r\n\r\n%b"
)
# Descriptors that are no connections: the database's, the files being read, logs, the listener.
RESERVED_DESCRIPTORS: Final = 64


class HttpConnection(web.RequestHandler):
    """A client's connection. One whose request's head takes more than 30 seconds is closed.

    So is one that does not take its answer at 4 KiB/s, after 30 seconds. WebSockets have a rule
    of their own.
    """

    __slots__ = ("_answer_by", "_answered", "_connections", "_descriptors", "_head_timer", "_wire")

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
        self._head_timer: asyncio.TimerHandle | None = None
        # aiohttp forgets the transport when it closes it, which may take as long as the client.
        self._wire: asyncio.Transport | None = None
        self._answered = -1
        self._answer_by = math.inf

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Find a place, and begin to wait for the first head."""
        self._wire = cast(asyncio.Transport, transport)
        connection = transport.get_extra_info("socket")
        if connection is not None:
            self._descriptors.check(connection.fileno())
        place = self._connections.add(self)
        if place is Admission.REJECTED:
            self._refuse(self._wire)
            return
        if place is Admission.HEALTH_ONLY:
            self._request_handler = self._answer_at_the_door
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Wait no more."""
        self._connections.discard(self)
        self._stop_waiting()
        super().connection_lost(exc)
        self._wire = None

    def data_received(self, data: bytes) -> None:
        """Take bytes in; a head that is begun has to end in time, also a later one."""
        self._take(data)
        if self._is_waiting:
            if data and self._head_timer is None:
                self._wait_for_head()
        elif self._head_timer is not None:
            self._stop_waiting()

    def _take(self, data: bytes) -> None:
        """Take what belongs to a request in flight also while the server stops.

        aiohttp drops it then, and the request would wait for the rest of its body in vain.
        """
        if not (self._close or self._force_close):
            super().data_received(data)
            return
        flags = self._close, self._force_close
        if self._request_in_progress or self._messages:
            self._close = self._force_close = False
        try:
            super().data_received(data)
        finally:
            # Nothing is sent, closed or begun in between: what is parsed waits for the loop.
            self._close, self._force_close = flags

    @property
    def idle_since(self) -> float | None:
        """When it would be closed for idling, which orders them; None while it has a request."""
        return self._next_keepalive_close_time if self._is_waiting else None

    def look_after_answer(self, now: float) -> None:
        """Cut the client off if it has not taken its answer in time. ``now`` is monotonic."""
        wire = self._wire
        left = 0 if wire is None else wire.get_write_buffer_size()
        if wire is None or not left or (self._upgraded and not wire.is_closing()):
            self._answered = -1
        elif self._answered != self._request_count:
            self._answered = self._request_count
            self._answer_by = now + ANSWER_SECONDS + left / ANSWER_RATE
        elif now > self._answer_by:
            wire.abort()

    @property
    def _is_waiting(self) -> bool:
        """Whether it has nothing to do but to wait for a request's head."""
        waiter = self._waiter
        if waiter is None:
            # Its task may not have begun to wait when the first bytes are there.
            return self._request_count == 0
        return not waiter.done()

    def _wait_for_head(self) -> None:
        loop = asyncio.get_running_loop()
        self._head_timer = loop.call_later(HEAD_SECONDS, self._close_without_head)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _close_without_head(self) -> None:
        self._head_timer = None
        if self._is_waiting:
            self.force_close()

    def _refuse(self, transport: asyncio.Transport) -> None:
        self._force_close = True
        body = orjson.dumps({"success": False, "error": FULL_SENTENCE})
        transport.write(REFUSAL % (RETRY_SECONDS.encode(), len(body), body))
        transport.close()

    async def _answer_at_the_door(self, request: web.BaseRequest) -> web.StreamResponse:
        manager = self._manager
        if request.path in DOOR_PATHS and manager is not None:
            response: web.StreamResponse = await manager.request_handler(request)
        else:
            headers = {"Retry-After": RETRY_SECONDS, "X-Request-ID": request_id(request)}
            response = error_response(FULL_SENTENCE, 503, headers=headers)
        response.force_close()
        return response

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what went wrong before, or outside, any code of ours."""
        # It logs, and raises if an answer was begun; its text may repeat what was sent.
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
    """What makes the connections of ``server``; ``options`` are those of `web.RequestHandler`."""
    loop, watch = asyncio.get_running_loop(), FileDescriptorMonitor()
    connections = ConnectionLimiter(connections_limit(settings))
    return lambda: HttpConnection(server, watch, connections, loop=loop, **options)


def connections_limit(settings: Settings) -> int:
    """How many connections there may be: fewer than the setting if descriptors are few."""
    readers = settings.worker_concurrency * len(settings.mount_points)
    left = descriptor_limit() - RESERVED_DESCRIPTORS - settings.db_pool_size - readers - DOOR_PLACES
    return int(max(1, min(settings.max_connections, left)))
