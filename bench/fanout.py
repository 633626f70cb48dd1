"""Fan-out: CPU for each message delivered, against writing a prepared frame to each transport."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import WSMsgType, web

from bench.free_ports import free_port
from bench.measure import Measure, compare
from bench.stage import cpu_seconds, end, gateway_process, scratch_folder, stage

GOAL = 1.1
CLIENTS = (1, 100, 1_000)
DELIVERED = 40_000
TURNS = 10
SAMPLE = '{"type":"lucidlink-stats","getMibps":123.45}'
BATCH = 20
"""Messages at once: all of them fit into what the kernel and a transport take."""
MOST_MESSAGES = 2_000


async def measure(rounds: int) -> AsyncIterator[Measure]:
    """Samples of the throughput come in and go out to each client, real sockets all the way."""
    with scratch_folder() as folder:
        async with stage(folder, folder) as settings, _source() as (source, url):
            environ = {"BACKEND_WS_URL": url}
            ports = free_port(), free_port()
            async with gateway_process(settings, ports[0], environ) as (_client, ours):
                await source.connected.get()
                async with _child("bench.fanout_floor", ports[1], url) as floor:
                    await source.connected.get()
                    for clients in CLIENTS:
                        async with (
                            _delivery(source, 0, ours, ports[0], clients) as deliver,
                            _delivery(source, 1, floor.pid, ports[1], clients) as write,
                        ):
                            yield await compare(
                                "deliver a message", "bare writes", (clients, "clients"),
                                GOAL if clients == max(CLIENTS) else None,
                                deliver, write, rounds, per=_messages(clients) * clients,
                                turns=TURNS, unit="CPU s",
                            )  # fmt: skip


def _messages(clients: int) -> int:
    return min(MOST_MESSAGES, DELIVERED // clients) // BATCH * BATCH


class _Source:
    """Where the samples come from, as the backend would send them: to whom connected first, …"""

    def __init__(self) -> None:
        self.sockets: list[web.WebSocketResponse] = []
        self.connected: asyncio.Queue[None] = asyncio.Queue()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        self.connected.put_nowait(None)
        async for message in socket:
            if message.type is WSMsgType.ERROR:
                break
        return socket

    async def send(self, number: int, messages: int) -> None:
        for _ in range(messages):
            await self.sockets[number].send_str(SAMPLE)


class _Delivery:
    def __init__(
        self, source: _Source, number: int, pid: int, listeners: asyncio.subprocess.Process,
        clients: int,
    ) -> None:  # fmt: skip
        self._source = source
        self._number = number
        self._pid = pid
        self._listeners = listeners
        self._clients = clients
        self._came = clients

    async def __call__(self) -> float:
        before = cpu_seconds(self._pid)
        for _ in range(_messages(self._clients) // BATCH):
            await self._source.send(self._number, BATCH)
            self._came += BATCH * self._clients
            await self.expect()
        return cpu_seconds(self._pid) - before

    async def expect(self) -> None:
        """Wait until all of it has come, and no more."""
        assert self._listeners.stdout is not None
        line = await self._listeners.stdout.readline()
        assert int(line or 0) == self._came, (line, self._came)


@asynccontextmanager
async def _delivery(
    source: _Source, number: int, pid: int, port: int, clients: int
) -> AsyncIterator[_Delivery]:
    async with _child("bench.listeners", port, clients, BATCH) as listeners:
        delivery = _Delivery(source, number, pid, listeners, clients)
        await delivery.expect()
        yield delivery


@asynccontextmanager
async def _source() -> AsyncIterator[tuple[_Source, str]]:
    source, port = _Source(), free_port()
    app = web.Application()
    app.router.add_get("/", source.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield source, f"ws://127.0.0.1:{port}/"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _child(module: str, *arguments: object) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *map(str, arguments)),
        stdout=asyncio.subprocess.PIPE,
        env=dict(os.environ),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            await end(process)
