"""A gateway that a client's tests stop and start, and a watch beside a test."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from gateway.app import create_app
from gateway.client import GatewayClient, JobChange
from gateway.http import app_keys
from gateway.settings import Settings
from support.database import change
from support.stream_kit import PATIENCE

KEY = "a-secret-of-our-own"


class Server:
    """A gateway on one port that can be stopped and started."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.url = f"http://127.0.0.1:{settings.api_gateway_port}"
        self.app: web.Application
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        self.app = create_app(self.settings)
        self._runner = web.AppRunner(self.app, shutdown_timeout=5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.settings.api_gateway_port).start()
        async with asyncio.timeout(PATIENCE):
            await self.app[app_keys.JOB_EVENTS].has_begun.wait()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


StartServer = Callable[..., Any]


def quiet_port() -> int:
    """A free port that no connection is given by itself, while the server is away between."""
    while True:
        port = random.randrange(15_000, 30_000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


@pytest.fixture
async def start_server(database_settings: Settings) -> AsyncIterator[StartServer]:
    servers: list[Server] = []

    async def start(**changes: Any) -> Server:
        own = {"api_gateway_key": KEY, "api_gateway_port": quiet_port()}
        unlimited = {"rate_limit_per_minute": 0, "poll_limit_per_minute": 0}
        servers.append(Server(change(database_settings, own | unlimited | changes)))
        await servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        await server.stop()


@pytest.fixture
async def server(start_server: StartServer) -> Server:
    started: Server = await start_server()
    return started


class Watching:
    """A watch that runs beside the test."""

    def __init__(self, client: GatewayClient, job_id: str, **options: Any) -> None:
        self.seen: list[JobChange] = []
        self._changed = asyncio.Condition()
        self.task = asyncio.create_task(self._watch(client.watch(job_id, **options)))

    async def _watch(self, changes: AsyncIterator[JobChange]) -> None:
        async for one in changes:
            async with self._changed:
                self.seen.append(one)
                self._changed.notify_all()

    async def until(self, wanted: Callable[[JobChange], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: any(map(wanted, self.seen)))

    async def end(self) -> list[str]:
        async with asyncio.timeout(PATIENCE):
            await self.task
        return [one.kind for one in self.seen]
