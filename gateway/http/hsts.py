"""Strict-Transport-Security."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from gateway.http.app_keys import TRUSTED_PROXIES
from gateway.http.forwarded import is_https

Signal = Callable[[web.Request, web.StreamResponse], Awaitable[None]]


def hsts_header(max_age: int) -> Signal:
    """A signal that asks browsers to use HTTPS alone for ``max_age`` seconds.

    For the gateway's own listener only: the header covers the whole host name. Source: RFC 6797,
    which forbids the header on plain HTTP.
    """

    async def add(request: web.Request, response: web.StreamResponse) -> None:
        if is_https(request, request.app[TRUSTED_PROXIES]):
            response.headers["Strict-Transport-Security"] = f"max-age={max_age}"

    return add
