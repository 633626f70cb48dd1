"""Submit: a job over HTTP, against the bare SQL that writes the same rows into the same indexes."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2

from bench.free_ports import free_port
from bench.measure import Measure, compare
from bench.stage import gateway, scratch_folder, stage
from gateway.client import GatewayClient
from gateway.database import connection_arguments
from gateway.settings import Settings

ROOT = "/media/bench"
ALL = 1_000_000
# A million files, a hundred a folder, a hundred folders in one and so on; and a folder of one file.
FILL = """
INSERT INTO files (path, name, parent_path, is_directory, size)
SELECT folder || '/f' || n, 'f' || n, folder, false, n
FROM generate_series(0, %(count)s - 1) AS n,
     LATERAL (SELECT %(root)s || '/all/d' || n / 100000 || '/c' || n / 10000 || '/b' || n / 100
              AS folder) AS place
UNION ALL SELECT %(root)s || '/one/f', 'f', %(root)s || '/one', false, 1
"""
DIRECTORIES = {
    1: "one",
    100: "all/d3/c30/b3000",
    10_000: "all/d3/c30",
    100_000: "all/d3",
    ALL: "all",
}
LISTS = (1, 100, 10_000, 100_000)
GOALS = {"directory": {100_000: 1.25}, "list": {10_000: 2.0}}
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
    """Directories and lists of growing sizes, of an index of a million files."""
    with scratch_folder() as folder:
        async with stage(folder, Path(ROOT)) as settings:
            connection = psycopg2.connect(**connection_arguments(settings))
            await asyncio.to_thread(fill, settings)
            async with gateway(settings, free_port()) as client:
                bench = _Submit(connection, client)
                for files, directory in DIRECTORIES.items():
                    yield await compare(
                        "submit a directory", "bare SQL", (files, "files"),
                        GOALS["directory"].get(files),
                        partial(bench.directory, directory, files),
                        partial(bench.bare_directory, directory, files),
                        rounds if files < ALL else 2,
                    )  # fmt: skip
                for files in LISTS:
                    yield await compare(
                        "submit a list", "bare SQL", (files, "files"), GOALS["list"].get(files),
                        partial(bench.listed, files), partial(bench.bare_listed, files), rounds,
                    )  # fmt: skip
            connection.close()


def path_of(number: int) -> str:
    """The path, in the filespace, of one of the million files."""
    folder = f"all/d{number // 100_000}/c{number // 10_000}/b{number // 100}"
    return f"{folder}/f{number}"


class _Submit:
    def __init__(self, connection: Any, client: GatewayClient) -> None:
        self._connection = connection
        self._client = client

    async def directory(self, directory: str, files: int) -> float:
        started = time.perf_counter()
        job = await self._client.submit(directories=[directory])
        seconds = time.perf_counter() - started
        assert job.total_files == files, job
        return seconds

    async def bare_directory(self, directory: str, files: int) -> float:
        bounds = {"first": f"{ROOT}/{directory}/", "end": f"{ROOT}/{directory}0"}
        return await asyncio.to_thread(self._bare, BARE_DIRECTORY, bounds, files)

    async def listed(self, files: int) -> float:
        names = [path_of(number) for number in range(0, ALL, ALL // files)]
        started = time.perf_counter()
        job = await self._client.submit(files=names)
        seconds = time.perf_counter() - started
        assert (job.total_files, list(job.unindexed)) == (files, []), job
        return seconds

    async def bare_listed(self, files: int) -> float:
        paths = [f"{ROOT}/{path_of(number)}" for number in range(0, ALL, ALL // files)]
        lists = {"paths": paths, "sizes": list(range(len(paths)))}
        return await asyncio.to_thread(self._bare, BARE_LIST, lists, files)

    def _bare(self, statement: str, parameters: dict[str, Any], files: int) -> float:
        parameters["id"] = str(uuid.uuid4())
        started = time.perf_counter()
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
            job = {"id": parameters["id"], "directories": [f"{ROOT}/some"], "files": files}
            cursor.execute(BARE_JOB, job)
            cursor.execute(statement, parameters)
            assert cursor.rowcount == files
        return time.perf_counter() - started


def fill(settings: Settings) -> None:
    """Index the million files."""
    connection = psycopg2.connect(**connection_arguments(settings))
    with connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(FILL, {"root": ROOT, "count": ALL})
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute("VACUUM ANALYZE files")
    connection.close()
