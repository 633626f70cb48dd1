"""CORS: which origins may call the API, and which response headers they may read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import aiohttp_cors
from aiohttp import hdrs, web

Prepare = Callable[[web.Request, web.StreamResponse], Awaitable[Any]]

EXPOSED_HEADERS: Final = (
    "Accept-Signature",
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
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
    # aiohttp-cors looks up the route of every response, even without an Origin.
    allow = app.on_response_prepare.pop()
    app.on_response_prepare.append(_filling_gaps(allow, frozenset(origins)))
    return cors


def _filling_gaps(allow: Prepare, origins: frozenset[str]) -> Prepare:
    """``allow``, with what aiohttp-cors leaves out.

    That is Vary, without which a shared cache mixes up the origins, and all headers of responses
    without a route.
    """

    async def fill(request: web.Request, response: web.StreamResponse) -> None:
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None:
            # It fails if these headers are set already.
            await allow(request, response)
        if "Origin" not in response.headers.get(hdrs.VARY, ""):
            response.headers.add(hdrs.VARY, "Origin")
        if origin is None or "Access-Control-Allow-Origin" in response.headers:
            return
        if "*" in origins or origin in origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = ",".join(EXPOSED_HEADERS)

    return fill


def answer_options(request: web.Request) -> web.Response | None:
    """The methods of a resource, for an OPTIONS that is no CORS preflight; else None."""
    resource = request.match_info.route.resource
    if request.method != hdrs.METH_OPTIONS or hdrs.ORIGIN in request.headers or resource is None:
        return None
    methods = sorted({route.method for route in resource})
    return web.Response(status=204, headers={hdrs.ALLOW: ", ".join(methods)})
