"""Whether a browser's page comes from an origin that may not call the gateway.

A browser on this machine runs untrusted pages. CORS keeps none of them from a WebSocket, and from
the rest only those that CORS_ORIGINS leaves out, by default none.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import hdrs, web

from gateway.http.app_keys import API_KEYS, SETTINGS
from gateway.http.forwarded import host_of_client
from gateway.net.addresses import is_loopback_host


def is_cross_origin(request: web.Request) -> bool:
    """Whether a page of an origin requests that is neither the gateway's nor in CORS_ORIGINS.

    While the demo key, which any page can send, is in force, ``*`` means this machine's pages.
    """
    origin = request.headers.get(hdrs.ORIGIN)
    settings = request.app[SETTINGS]
    if origin is None or origin in settings.cors_origins:
        return False
    host = _host_of(origin)
    if host and host == _host_of(f"//{host_of_client(request)}"):
        return False
    if "*" not in settings.cors_origins:
        return True
    is_key_secret = not request.app[API_KEYS].is_demo_key or settings.allow_demo_key
    return not is_key_secret and not is_loopback_host(host)


def _host_of(url: str) -> str:
    """The host without the port, in brackets if it is IPv6; empty if there is none (``null``)."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    return f"[{host}]" if ":" in host else host
