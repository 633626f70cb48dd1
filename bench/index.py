"""Index: a tree of 100,000 files, the first time and again, against looking at it alone."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg2

from bench.measure import Measure, compare
from bench.stage import scratch_folder, stage
from gateway.database import connection_arguments
from gateway.indexer import Indexer
from gateway.settings import Settings

FOLDERS, FILES = 1_000, 100


async def measure(rounds: int) -> AsyncIterator[Measure]:
    """Again, with nothing changed, against scandir and stat of each entry."""
    with scratch_folder() as folder:
        media = folder / "media"
        _make_tree(media)
        async with stage(folder, media) as settings:
            bench = _Index(settings, media)
            await bench.again()
            await asyncio.to_thread(_vacuum, psycopg2.connect(**connection_arguments(settings)))
            yield await compare(
                "index again, nothing changed", "scandir with stat", "100,000 files", 2.0,
                bench.again, bench.look, rounds,
            )  # fmt: skip


class _Index:
    def __init__(self, settings: Settings, media: Path) -> None:
        self._settings = settings
        self._media = media

    async def again(self) -> float:
        started = time.perf_counter()
        result = await Indexer(self._settings).index(str(self._media))
        assert result.files == FOLDERS * FILES, result
        return time.perf_counter() - started

    async def look(self) -> float:
        started = time.perf_counter()
        assert await asyncio.to_thread(_look, str(self._media)) == FOLDERS * (FILES + 1)
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


def _make_tree(media: Path) -> None:
    for number in range(FOLDERS):
        folder = media / f"shot_{number:04}"
        folder.mkdir(parents=True)
        for frame in range(FILES):
            (folder / f"frame.{frame:04}.exr").write_bytes(b"x")


def _vacuum(connection: Any) -> None:
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE files")
    connection.close()
