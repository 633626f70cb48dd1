"""``/ws``: metrics for all clients; events of jobs for authenticated ones that subscribe."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final

from aiohttp import WSCloseCode, web

from gateway.handlers.websocket_handshake import shake_hands
from gateway.handlers.websocket_session import Connection
from gateway.http.app_keys import REQUEST_ID, SEND_BUFFERS, SIGNATURE, SOCKETS
from gateway.http.authentication import authenticate_request, check_origin
from gateway.http.signed_body import check_signed_body

HEARTBEAT_SECONDS: Final = 30.0
MESSAGE_LIMIT: Final = 64 * 1024
CLOSE_SECONDS: Final = 2.0

log = logging.getLogger(__name__)


async def stream(request: web.Request) -> web.StreamResponse:
    """A WebSocket: metrics for all clients, and events of jobs for authenticated ones.

    Messages are JSON texts. A client authenticates with a key in `X-API-Key`, a token in
    `Authorization`, either of them in an `auth` message, or a signed handshake, and may then
    subscribe to all jobs or to one. A subscription begins with a `snapshot`, so that no change is
    missed. A slow client gets the newest event of each kind. Pages of an origin that may not call
    the API may not connect either.
    """
    check_origin(request)
    caller = await authenticate_request(request)
    if SIGNATURE in request:
        await check_signed_body(request)
    socket = web.WebSocketResponse(
        heartbeat=HEARTBEAT_SECONDS,
        max_msg_size=MESSAGE_LIMIT,
        compress=False,
        timeout=CLOSE_SECONDS,
    )
    socket.headers["X-Request-ID"] = request[REQUEST_ID]
    await shake_hands(request, socket)
    if request.transport is None:
        return socket
    try:
        connection = Connection(request, socket, request.transport, caller)
        await connection.serve()
    except ConnectionError:
        # The client is gone, or was cut off because it took nothing.
        log.debug("WebSocket %s is cut off", request[REQUEST_ID])
    except Exception:
        # No HTTP response may follow an upgrade.
        log.exception("WebSocket %s failed", request[REQUEST_ID])
        await socket.close(code=WSCloseCode.INTERNAL_ERROR)
    return socket


async def close_all(app: web.Application) -> None:
    """Close all WebSockets concurrently with code 1001, as each may take seconds.

    Aborts those whose client does not answer within `CLOSE_SECONDS`.
    """
    app[SEND_BUFFERS].stop()
    sockets: set[web.WebSocketResponse] = app[SOCKETS]
    closing = [s.close(code=WSCloseCode.GOING_AWAY, message=b"Server shutdown") for s in sockets]
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            await asyncio.gather(*closing, return_exceptions=True)
    app[SEND_BUFFERS].abort()
