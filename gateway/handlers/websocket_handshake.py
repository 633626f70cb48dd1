"""The WebSocket handshake: RFC 6455, section 4.2.

It is checked before aiohttp does, whose errors echo untrusted input and crash on some of it.
"""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web

from gateway.errors import InvalidRequest, UnsupportedWebSocketVersion

VERSIONS: Final = ("13", "8", "7")


async def shake_hands(request: web.Request, socket: web.WebSocketResponse) -> None:
    """Upgrade the connection. Raises `InvalidRequest` or `UnsupportedWebSocketVersion`."""
    if request.headers.get(hdrs.UPGRADE, "").strip().lower() != "websocket":
        raise InvalidRequest("This URL speaks WebSocket")
    if request.headers.get(hdrs.SEC_WEBSOCKET_VERSION) not in VERSIONS:
        raise UnsupportedWebSocketVersion
    try:
        await socket.prepare(request)
    except (web.HTTPBadRequest, ValueError):
        raise InvalidRequest("The WebSocket handshake is not valid") from None
    except ConnectionError:
        # Nobody receives this answer, and a traceback in the log would help nobody.
        raise InvalidRequest("The client hung up during the handshake") from None
