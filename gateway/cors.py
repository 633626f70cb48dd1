"""Pages of other origins: which of them may call the API, and what they may read of its answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import aiohttp_cors
from aiohttp import web

EXPOSED_HEADERS: Final = (
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-ID",
)


def open_to_origins(app: web.Application, origins: Sequence[str]) -> aiohttp_cors.CorsConfig:
    """Let pages of ``origins`` (``*``: of any) call the routes that are added to the result."""
    # No credentials: the key travels in a header, and with "*" any origin would be reflected.
    options = aiohttp_cors.ResourceOptions(  # type: ignore[no-untyped-call]
        allow_credentials=False,
        expose_headers=EXPOSED_HEADERS,
        allow_headers="*",
        allow_methods="*",
        max_age=600,
    )
    cors = aiohttp_cors.setup(app, defaults=dict.fromkeys(origins, options))
    # Behind aiohttp-cors' own signal, which insists on being the first to set these headers.
    app.on_response_prepare.append(_fill_gaps(frozenset(origins)))
    return cors


def _fill_gaps(
    origins: frozenset[str],
) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """What aiohttp-cors leaves out: Vary, without which a shared cache mixes up the origins, and
    everything on answers that belong to no route, which a page could then not even read.
    """

    async def fill(request: web.Request, response: web.StreamResponse) -> None:
        if "Origin" not in response.headers.get("Vary", ""):
            response.headers.add("Vary", "Origin")
        origin = request.headers.get("Origin")
        if origin is None or "Access-Control-Allow-Origin" in response.headers:
            return
        if "*" in origins or origin in origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = ",".join(EXPOSED_HEADERS)

    return fill
