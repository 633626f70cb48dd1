"""The floors of what is served: a handler that does nothing, and one with one trivial query."""

from __future__ import annotations

import os
import sys

from aiohttp import web

from gateway.database import Database
from gateway.runtime.process import run
from gateway.settings import Settings

DATABASE = web.AppKey("DATABASE", Database)


async def empty(_request: web.Request) -> web.Response:
    return web.Response(body=b"{}", content_type="application/json")


async def trivial_query(request: web.Request) -> web.Response:
    row = await request.app[DATABASE].fetch_one("SELECT 1 AS one")
    return web.Response(body=b'{"one":%d}' % row.one, content_type="application/json")


async def serve(port: int) -> None:
    """Serve until the process is ended, on the loop that the gateway uses."""
    import asyncio

    app = web.Application()
    app.router.add_get("/empty", empty)
    app.router.add_get("/trivial-query", trivial_query)
    async with Database(Settings.load()) as database:
        app[DATABASE] = database
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    os.environ.setdefault("API_GATEWAY_KEY", "bench-key")
    run(serve(int(sys.argv[1])))
