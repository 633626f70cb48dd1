"""Poll and list: against handlers that do next to nothing, by the same server and driver."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
import psycopg2

from bench.free_ports import free_port
from bench.http_load import ask
from bench.measure import Measure, compare
from bench.stage import KEY, START_SECONDS, end, gateway, scratch_folder, stage
from bench.submit import DIRECTORIES, ROOT, fill
from gateway.client import GatewayClient
from gateway.database import connection_arguments
from gateway.settings import Settings

# Requests per second, ours of the floor's; a measure compares seconds, so the inverse is kept.
POLL_GOAL = 1 / 0.6
LIST_GOAL = 1 / 0.5
REQUESTS = 8_000
LISTS = 1_600
SIZES = (1, 100, 10_000, 100_000)
JOBS = (5, 100, 10_000)
MORE_JOBS = """
INSERT INTO cache_jobs (status, file_paths, total_files, total_size_bytes)
SELECT 'pending', '{}', 1, 1 FROM generate_series(1, %s - (SELECT count(*) FROM cache_jobs))
"""


async def measure(rounds: int) -> AsyncIterator[Measure]:
    """Jobs of some sizes, polled by 16 clients; ETags that still hold; a page of 50 jobs."""
    with scratch_folder() as folder:
        async with stage(folder, Path(ROOT)) as settings:
            await asyncio.to_thread(fill, settings)
            port, floor_port = free_port(), free_port()
            async with gateway(settings, port) as client, floor_server(settings, floor_port):
                bench = _Poll(settings, client, port, floor_port)
                async for one in bench.polls(rounds):
                    yield one
                async for one in bench.lists(rounds):
                    yield one


class _Poll:
    def __init__(
        self, settings: Settings, client: GatewayClient, port: int, floor_port: int
    ) -> None:
        self._settings = settings
        self._client = client
        self._ask = partial(ask, port)
        self._empty = partial(ask, floor_port, "/empty", {}, requests=REQUESTS)
        self._query = partial(ask, floor_port, "/trivial-query", {}, requests=LISTS)
        self._port = port

    async def polls(self, rounds: int) -> AsyncIterator[Measure]:
        for files in SIZES:
            job = await self._client.submit(directories=[DIRECTORIES[files]])
            assert job.total_files == files, job
            path, key = f"/api/v1/cache/jobs/{job.id}", {"X-API-Key": KEY}
            poll = partial(self._ask, path, key, requests=REQUESTS)
            yield await compare(
                "poll a job", "empty handler", (files, "files"), POLL_GOAL, poll, self._empty,
                rounds, per=REQUESTS,
            )  # fmt: skip
        known = key | {"If-None-Match": await self._tag(path)}
        unchanged = partial(self._ask, path, known, status=304, requests=REQUESTS)
        yield await compare(
            "poll, unchanged (304)", "empty handler", (files, "files"), POLL_GOAL, unchanged,
            self._empty, rounds, per=REQUESTS,
        )  # fmt: skip

    async def lists(self, rounds: int) -> AsyncIterator[Measure]:
        page = partial(
            self._ask, "/api/v1/cache/jobs", {"X-API-Key": KEY}, requests=LISTS
        )  # fmt: skip
        for jobs in JOBS:
            await asyncio.to_thread(_fill_up, self._settings, jobs)
            # The page has 50 jobs at most; all are counted.
            yield await compare(
                "list jobs", "one trivial query", (jobs, "jobs"),
                LIST_GOAL if jobs == 100 else None, page, self._query, rounds, per=LISTS,
            )  # fmt: skip
            assert (await self._client.jobs())[1] == jobs

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
        await end(process)


def _fill_up(settings: Settings, jobs: int) -> None:
    connection = psycopg2.connect(**connection_arguments(settings))
    with connection, connection.cursor() as cursor:
        cursor.execute(MORE_JOBS, (jobs,))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE cache_jobs")
    connection.close()
