"""A service of your own with the whole gateway inside it, under /cache.

    DB_HOST=localhost API_GATEWAY_KEY=secret python examples/embed.py
    curl http://127.0.0.1:8080/
    curl http://127.0.0.1:8080/cache/api/v1/health

It is configured as the gateway itself is, by config.toml and the environment. PORT is the port of
the service.
"""

from __future__ import annotations

import os

from aiohttp import web

from gateway import Settings, create_app


async def greet(_request: web.Request) -> web.Response:
    """A route of the service's own."""
    return web.json_response({"service": "renders", "cache": "/cache/api/v1"})


def make_service(settings: Settings) -> web.Application:
    """The service; the gateway opens its connections with it and closes them with it."""
    service = web.Application()
    service.router.add_get("/", greet)
    # Its keys, limits, CORS and errors are its own: they end where the prefix ends.
    service.add_subapp("/cache", create_app(settings))
    return service


if __name__ == "__main__":
    web.run_app(
        make_service(Settings.load()), host="127.0.0.1", port=int(os.environ.get("PORT", "8080"))
    )
