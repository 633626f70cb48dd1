"""Poll and list: against handlers that do next to nothing, by the same server and driver."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp

from bench.http_load import ask
from bench.measure import Measure, compare
from bench.stage import KEY, START_SECONDS, gateway, scratch_folder, stage
from bench.submit import ROOT, fill, free_port
from gateway.client import GatewayClient
from gateway.settings import Settings

# Requests per second, ours of the floor's; a measure compares seconds, so the inverse is kept.
POLL_GOAL = 1 / 0.6
LIST_GOAL = 1 / 0.5
REQUESTS = 8_000
LISTS = 1_600
DIRECTORIES = {1: "d9/e900", 1_000: "d3/e300", 100_000: "d3"}


async def measure(rounds: int) -> AsyncIterator[Measure]:
    """Jobs of some sizes, polled by 16 clients; ETags that still hold; a page of 50 jobs."""
    with scratch_folder() as folder:
        async with stage(folder, Path(ROOT)) as settings:
            await asyncio.to_thread(fill, settings)
            port, floor_port = free_port(), free_port()
            async with gateway(settings, port) as client, floor_server(settings, floor_port):
                bench = _Poll(client, port, floor_port)
                async for one in bench.measure(rounds):
                    yield one


class _Poll:
    def __init__(self, client: GatewayClient, port: int, floor_port: int) -> None:
        self._client = client
        self._port = port
        self._empty = partial(ask, floor_port, "/empty", {}, requests=REQUESTS)
        self._query = partial(ask, floor_port, "/trivial-query", {}, requests=LISTS)

    async def measure(self, rounds: int) -> AsyncIterator[Measure]:
        for files in (1, 1_000, 100_000):
            path = f"/api/v1/cache/jobs/{await self._submit(files)}"
            poll = partial(ask, self._port, path, {"X-API-Key": KEY}, requests=REQUESTS)
            yield await compare(
                "poll a job", "empty handler", f"{files:,} files", POLL_GOAL,
                poll, self._empty, rounds,
            )  # fmt: skip
        headers = {"X-API-Key": KEY, "If-None-Match": await self._tag(path)}
        unchanged = partial(ask, self._port, path, headers, status=304, requests=REQUESTS)
        yield await compare(
            "poll, unchanged (304)", "empty handler", f"{files:,} files", POLL_GOAL,
            unchanged, self._empty, rounds,
        )  # fmt: skip
        for _ in range(60):
            await self._submit(1)
        page = partial(
            ask, self._port, "/api/v1/cache/jobs", {"X-API-Key": KEY}, requests=LISTS
        )  # fmt: skip
        yield await compare(
            "list jobs", "one trivial query", "50 of 63 jobs", LIST_GOAL,
            page, self._query, rounds,
        )  # fmt: skip

    async def _submit(self, files: int) -> str:
        if files == 1:
            job = await self._client.submit(files=["d9/e900/f900000"])
        else:
            job = await self._client.submit(directories=[DIRECTORIES[files]])
        assert job.total_files == files, job
        return job.id

    async def _tag(self, path: str) -> str:
        async with (
            aiohttp.ClientSession() as session,
            session.get(
                f"http://127.0.0.1:{self._port}{path}", headers={"X-API-Key": KEY}
            ) as answer,
        ):
            return answer.headers["ETag"]


@asynccontextmanager
async def floor_server(settings: Settings, port: int) -> AsyncIterator[None]:
    """The floors as a process of their own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.floor_server", str(port)),
        env=os.environ | {"DB_HOST": settings.db_host},
    )
    try:
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    await ask(port, "/trivial-query", {}, requests=1, connections=1)
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()
