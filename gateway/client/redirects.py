"""The client's way with redirects: it follows none."""

from __future__ import annotations

from typing import Any

import aiohttp

from gateway.client.errors import GatewayClientError


def redirects_refused() -> aiohttp.TraceConfig:
    """What keeps a session from following: the key is for one gateway, and POST would become GET.

    ``allow_redirects`` does not reach the handshake of a WebSocket.
    """

    async def refuse(_session: object, _context: object, asked: Any) -> None:
        response: aiohttp.ClientResponse = asked.response
        response.close()
        place = response.headers.get("Location", "nowhere")
        raise GatewayClientError(f"What answers redirects to {place:.200}", response.status)

    config = aiohttp.TraceConfig()
    config.on_request_redirect.append(refuse)
    return config
