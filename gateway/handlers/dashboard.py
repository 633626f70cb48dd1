"""The dashboard: a page that uses the API alone, and its files."""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web

from gateway.http.app_keys import WEB_FILES
from gateway.http.page_headers import page_headers
from gateway.http.responses import is_known
from gateway.web import WebFile

PAGE: Final = "index.html"

# Nothing inline, nothing from other origins, no framing.
CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
HEADERS: Final = page_headers(CONTENT_SECURITY_POLICY)


async def page(request: web.Request) -> web.Response:
    """The dashboard's page."""
    return _serve(request, request.app[WEB_FILES][PAGE])


async def file(request: web.Request) -> web.Response:
    """A file that the page is made of. Raises 404 for any other name."""
    found = request.app[WEB_FILES].get(request.match_info["file"])
    if found is None or found.content_type == "text/html":
        raise web.HTTPNotFound
    return _serve(request, found)


async def add_slash(request: web.Request) -> web.Response:
    """Lead from a mount's prefix to the page: its links are relative to the slash.

    The way there is relative as well, since a proxy may have cut off a part of the path.
    """
    last = request.rel_url.raw_path.rpartition("/")[2]
    return web.Response(status=308, headers={hdrs.LOCATION: f"./{last}/"})


def _serve(request: web.Request, found: WebFile) -> web.Response:
    headers = {**HEADERS, hdrs.ETAG: f'"{found.tag}"'}
    if is_known(headers[hdrs.ETAG], request):
        return web.Response(status=304, headers=headers)
    return web.Response(
        body=found.body, content_type=found.content_type, charset="utf-8", headers=headers
    )
