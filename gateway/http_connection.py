"""One HTTP connection of our own listener: what aiohttp's parser refuses is told in our shape.

An application that is mounted in another one is served by its host's connections instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.http_exceptions import ContentEncodingError, LineTooLong

from gateway.descriptors import DescriptorWatch
from gateway.handlers.requests import ENCODINGS_SENTENCE
from gateway.handlers.responses import error_response, request_id
from gateway.keys import REQUEST_ID

HEAD_SECONDS: Final = 30.0


class HttpConnection(web.RequestHandler):
    """A client's connection. One that has not sent a request's head in 30 seconds is closed."""

    __slots__ = ("_descriptors", "_head_timer")

    def __init__(self, server: web.Server, descriptors: DescriptorWatch, **options: Any) -> None:
        super().__init__(server, **options)
        self._descriptors = descriptors

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first head."""
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None:
            self._descriptors.look_at(connection.fileno())
        loop = asyncio.get_running_loop()
        self._head_timer = loop.call_later(HEAD_SECONDS, self._close_without_head)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Wait no more."""
        self._head_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what belongs to a request in flight also while the server stops.

        aiohttp drops it then, and the request would wait for the rest of its body in vain.
        """
        flags = self._close, self._force_close
        if self._request_in_progress or self._messages:
            self._close = self._force_close = False
        try:
            super().data_received(data)
        finally:
            # Nothing is sent, closed or begun in between: what is parsed waits for the loop.
            if any(flags):
                self._close, self._force_close = flags

    def _close_without_head(self) -> None:
        # Later heads are waited for as long as aiohttp keeps a connection alive.
        if self._request_count == 0:
            self.force_close()

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


def connection_factory(server: web.Server, **options: Any) -> Callable[[], HttpConnection]:
    """What makes the connections of ``server``; ``options`` are those of `web.RequestHandler`."""
    loop, watch = asyncio.get_running_loop(), DescriptorWatch()
    return lambda: HttpConnection(server, watch, loop=loop, **options)
