"""What responses say to browsers that came by HTTPS."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from gateway.app_keys import TRUSTED_PROXIES
from gateway.http.forwarded import is_https

Signal = Callable[[web.Request, web.StreamResponse], Awaitable[None]]


def hsts_header(max_age: int) -> Signal:
    """A signal that asks browsers to come by HTTPS alone for ``max_age`` seconds.

    It is for who owns the listener: what it asks for holds for the whole host name. Source: RFC
    6797, by which the header must not be sent along plain HTTP.
    """

    async def ask(request: web.Request, response: web.StreamResponse) -> None:
        if is_https(request, request.app[TRUSTED_PROXIES]):
            response.headers["Strict-Transport-Security"] = f"max-age={max_age}"

    return ask
