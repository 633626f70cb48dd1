"""Pages in browsers: where one comes from, and whether it is a stranger's.

A browser on this machine runs strangers' pages. CORS keeps none of them from a WebSocket, and only
those from the rest whom CORS_ORIGINS leaves out, which by default are none.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import hdrs, web

from gateway.app_keys import API_KEYS, SETTINGS
from gateway.http.forwarded import host_of_client
from gateway.net.addresses import is_loopback_host


def is_cross_origin(request: web.Request) -> bool:
    """Whether a page asks that comes neither from here nor from where CORS_ORIGINS says.

    While the demo key is in force, which any page can show, ``*`` there means this machine's pages.
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
    """Its host without the port, in brackets if it is IPv6; empty if it has none, like ``null``."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    return f"[{host}]" if ":" in host else host
