"""Index: trees of growing sizes, first and again, against bare scandir, COPY and upsert."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import psycopg2

from bench.measure import Measure, compare
from bench.stage import scratch_folder, stage
from gateway.database import connection_arguments
from gateway.index.indexer import Indexer
from gateway.settings import Settings

SIZES = (1, 100, 10_000, 100_000)
FILES_A_FOLDER = 100
FIRST_GOAL, AGAIN_GOAL = 1.3, 2.0
LARGE = 100_000
BARE_TABLE = """
CREATE TEMPORARY TABLE seen (path text, name text, parent_path text, is_directory boolean,
                             size bigint, modified double precision, permissions integer)
ON COMMIT DROP
"""
BARE_UPSERT = """
INSERT INTO files (path, name, parent_path, is_directory, size, modified_at, permissions,
                   indexed_at, updated_at)
SELECT path, name, parent_path, is_directory, size, to_timestamp(modified) AT TIME ZONE 'UTC',
       permissions, now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
FROM seen
ON CONFLICT (path) DO UPDATE
SET size = excluded.size, modified_at = excluded.modified_at, updated_at = excluded.updated_at
"""


async def measure(rounds: int) -> AsyncIterator[Measure]:
    """Each size in a tree and a database of its own."""
    for files in SIZES:
        with scratch_folder() as folder:
            media = folder / "media"
            _make_tree(media, files)
            async with stage(folder, media) as settings:
                async for one in _measure(settings, media, files, rounds):
                    yield one


async def _measure(
    settings: Settings, media: Path, files: int, rounds: int
) -> AsyncIterator[Measure]:
    bench = _Index(settings, media, files)
    goals = (FIRST_GOAL, AGAIN_GOAL) if files == LARGE else (None, None)
    yield await compare(
        "index the first time", "scandir with stat, COPY, upsert", (files, "files"), goals[0],
        bench.first, bench.bare, rounds,
    )  # fmt: skip
    await bench.again()
    await asyncio.to_thread(_run, settings, "VACUUM ANALYZE files")
    yield await compare(
        "index again, nothing changed", "scandir with stat", (files, "files"), goals[1],
        bench.again, bench.look, rounds,
    )  # fmt: skip


class _Index:
    def __init__(self, settings: Settings, media: Path, files: int) -> None:
        self._settings = settings
        self._media = str(media)
        self._files = files
        self._entries = files + -(-files // FILES_A_FOLDER)

    async def first(self) -> float:
        await asyncio.to_thread(_run, self._settings, "TRUNCATE files")
        seconds = await self.again()
        rows = await asyncio.to_thread(_run, self._settings, "SELECT count(*) FROM files")
        assert rows == self._entries + 1, rows
        return seconds

    async def again(self) -> float:
        started = time.perf_counter()
        result = await Indexer(self._settings).index(self._media)
        assert result.files == self._files, result
        return time.perf_counter() - started

    async def bare(self) -> float:
        await asyncio.to_thread(_run, self._settings, "TRUNCATE files")
        return await asyncio.to_thread(self._bare)

    def _bare(self) -> float:
        started = time.perf_counter()
        text = "".join(_lines(self._media)).encode()
        connection = psycopg2.connect(**connection_arguments(self._settings))
        with connection, connection.cursor() as cursor:
            cursor.execute(BARE_TABLE)
            cursor.copy_expert("COPY seen FROM STDIN", BytesIO(text))
            cursor.execute(BARE_UPSERT)
            assert cursor.rowcount == self._entries
        connection.close()
        return time.perf_counter() - started

    async def look(self) -> float:
        started = time.perf_counter()
        assert await asyncio.to_thread(_look, self._media) == self._entries
        return time.perf_counter() - started


def _look(folder: str) -> int:
    seen = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            entry.stat(follow_symlinks=False)
            seen += 1
            if entry.is_dir(follow_symlinks=False):
                seen += _look(entry.path)
    return seen


def _lines(folder: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            status, is_folder = entry.stat(follow_symlinks=False), entry.is_dir()
            kind, size = ("t", 0) if is_folder else ("f", status.st_size)
            yield (
                f"{entry.path}\t{entry.name}\t{folder}\t{kind}\t{size}"
                f"\t{status.st_mtime}\t{status.st_mode & 0o7777}\n"
            )
            if is_folder:
                yield from _lines(entry.path)


def _make_tree(media: Path, files: int) -> None:
    for number in range(files):
        folder = media / f"shot_{number // FILES_A_FOLDER:04}"
        if number % FILES_A_FOLDER == 0:
            folder.mkdir(parents=True)
        (folder / f"frame.{number:06}.exr").write_bytes(b"x")


def _run(settings: Settings, statement: str) -> Any:
    """Run a statement by itself; the first value that it returns, if it returns any."""
    connection = psycopg2.connect(**connection_arguments(settings))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
        value = cursor.fetchone()[0] if cursor.description else None
    connection.close()
    return value
