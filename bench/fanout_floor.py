"""The floor of the fan-out: ``python -m bench.fanout_floor PORT URL``.

For each message that comes from ``URL`` it writes the same prepared frame to each transport.
"""

from __future__ import annotations

import asyncio
import sys

import aiohttp
from aiohttp import web

from gateway.events.hub import Event
from gateway.metrics.latest import Metrics
from gateway.runtime.process import run
from gateway.schemas.serializers import lucidlink_message


async def serve(port: int, url: str) -> None:
    frame = Event(lucidlink_message(Metrics("").measure_throughput(123.45))).frame
    transports: set[asyncio.Transport] = set()

    async def stream(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        transport = request.transport
        assert transport is not None
        transport.write(frame)
        transports.add(transport)
        try:
            async for _ in socket:
                pass
        finally:
            transports.discard(transport)
        return socket

    app = web.Application()
    app.router.add_get("/ws", stream)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as backend:
        async for _ in backend:
            for transport in transports:
                transport.write(frame)


if __name__ == "__main__":
    run(serve(int(sys.argv[1]), sys.argv[2]))
