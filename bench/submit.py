"""Submit: a job over HTTP, against the bare SQL that writes the same rows into the same indexes."""

from __future__ import annotations

import asyncio
import socket
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg2

from bench.measure import Measure, compare
from bench.stage import gateway, scratch_folder, stage
from gateway.database import connection_arguments
from gateway.settings import Settings

INDEXED = 1_000_000
ROOT = "/media/bench"
FILL = """
INSERT INTO files (path, name, parent_path, is_directory, size)
SELECT %(root)s || '/d' || n / 100000 || '/e' || n / 1000 || '/f' || n, 'f' || n,
       %(root)s || '/d' || n / 100000 || '/e' || n / 1000, false, n
FROM generate_series(0, %(count)s - 1) AS n
"""
BARE_JOB = """
INSERT INTO cache_jobs (id, status, file_paths, directory_paths, total_files, total_size_bytes)
VALUES (%(id)s, 'pending', '{}', %(directories)s, %(files)s, 0)
"""
BARE_DIRECTORY = """
INSERT INTO cache_job_items (job_id, file_path, status, file_size_bytes)
SELECT %(id)s, path, 'pending', size FROM files
WHERE path ~>=~ %(first)s AND path ~<~ %(end)s AND NOT is_directory
"""
BARE_LIST = """
INSERT INTO cache_job_items (job_id, file_path, status, file_size_bytes)
SELECT %(id)s, path, 'pending', size
FROM unnest(%(paths)s::text[], %(sizes)s::bigint[]) AS listed (path, size)
"""


async def measure(rounds: int) -> AsyncIterator[Measure]:
    """A directory of 100,000 files, and 10,000 listed names, of an index of a million."""
    with scratch_folder() as folder:
        async with stage(folder, Path(ROOT)) as settings:
            connection = psycopg2.connect(**connection_arguments(settings))
            await asyncio.to_thread(fill, settings)
            async with gateway(settings, free_port()) as client:
                bench = _Submit(settings, connection, client)
                yield await compare(
                    "submit a directory", "bare SQL", "100,000 files", 1.25,
                    bench.directory, bench.bare_directory, rounds,
                )  # fmt: skip
                yield await compare(
                    "submit listed files", "bare SQL", "10,000 files", 2.0,
                    bench.listed, bench.bare_listed, rounds,
                )  # fmt: skip
            connection.close()


class _Submit:
    def __init__(self, settings: Settings, connection: Any, client: Any) -> None:
        self._connection = connection
        self._client = client
        self._names = [f"d3/e{n // 1000}/f{n}" for n in range(300_000, 400_000, 10)]

    async def directory(self) -> float:
        started = time.perf_counter()
        job = await self._client.submit(directories=["d3"])
        seconds = time.perf_counter() - started
        assert job.total_files == 100_000, job
        return seconds

    async def bare_directory(self) -> float:
        bounds = {"first": f"{ROOT}/d3/", "end": f"{ROOT}/d30"}
        return await asyncio.to_thread(self._bare, BARE_DIRECTORY, bounds, 100_000)

    async def listed(self) -> float:
        started = time.perf_counter()
        job = await self._client.submit(files=self._names)
        seconds = time.perf_counter() - started
        assert (job.total_files, list(job.unindexed)) == (10_000, []), job
        return seconds

    async def bare_listed(self) -> float:
        paths = [f"{ROOT}/{name}" for name in self._names]
        lists = {"paths": paths, "sizes": list(range(len(paths)))}
        return await asyncio.to_thread(self._bare, BARE_LIST, lists, 10_000)

    def _bare(self, statement: str, parameters: dict[str, Any], files: int) -> float:
        parameters["id"] = str(uuid.uuid4())
        started = time.perf_counter()
        with self._connection, self._connection.cursor() as cursor:
            job = {"id": parameters["id"], "directories": [f"{ROOT}/d3"], "files": files}
            cursor.execute(BARE_JOB, job)
            cursor.execute(statement, parameters)
            assert cursor.rowcount == files
        return time.perf_counter() - started


def fill(settings: Settings) -> None:
    """Index a million files, in ten folders of a hundred folders each."""
    connection = psycopg2.connect(**connection_arguments(settings))
    with connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(FILL, {"root": ROOT, "count": INDEXED})
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute("VACUUM ANALYZE files")
    connection.close()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
