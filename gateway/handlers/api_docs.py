"""The OpenAPI document and its page."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from aiohttp import web

from gateway.http.app_keys import DESCRIPTION
from gateway.http.page_headers import page_headers
from gateway.http.responses import is_known, json_response

# Nothing from other origins, nothing inline; the style sheet has pictures as data: URLs.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS: Final = page_headers(CONTENT_SECURITY_POLICY)
OURS: Final = Path(__file__).parents[1] / "web" / "docs"
OUR_FILES: Final = frozenset({"docs.css", "docs.js"})
# The package swagger-ui-py brings Swagger UI 5, which supports OpenAPI 3.1.
UI_PACKAGE: Final = "swagger_ui"
UI_FILES: Final = frozenset({"swagger-ui.css", "swagger-ui-bundle.js"})


async def openapi(request: web.Request) -> web.Response:
    """This document.

    Its links are relative to where it lies. A caller that sends back its `ETag` gets a 304 while
    nothing has changed.
    """
    description = request.app[DESCRIPTION]
    tag = f'"{description.tag}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if is_known(tag, request):
        return web.Response(status=304, headers=headers)
    return json_response(description.body, headers=headers)


async def page(_request: web.Request) -> web.FileResponse:
    """The document as a page to browse and to try requests on."""
    return web.FileResponse(OURS / "docs.html", headers=PAGE_HEADERS)


async def page_file(request: web.Request) -> web.FileResponse:
    """What the page is made of."""
    name = request.match_info["file"]
    if name in OUR_FILES:
        return web.FileResponse(OURS / name, headers=PAGE_HEADERS)
    if name in UI_FILES:
        return web.FileResponse(_ui_folder() / name, headers=PAGE_HEADERS)
    raise web.HTTPNotFound


def _ui_folder() -> Path:
    # Not imported: that would load its template engine.
    spec = find_spec(UI_PACKAGE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {UI_PACKAGE} is not installed")
    return Path(spec.origin).parent / "static"
