"""What the tests of the indexer share: a filespace, its index, and looking into it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extras import NamedTupleCursor

from gateway.database import connection_arguments
from gateway.index.indexer import Indexer, IndexResult
from gateway.index.listing import Listing
from gateway.index.table import Changes, IndexTable
from gateway.settings import Settings

JOB = "b0a1c2d3-0000-4000-8000-000000000001"
MODIFIED_NS = 1_700_000_000_123_456_789


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    folder = tmp_path / "filespace"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(database_settings: Settings, mount: Path) -> Settings:
    return database_settings.model_copy(update={"container_mount_point": str(mount)})


@pytest.fixture
def index(settings: Settings, mount: Path) -> Callable[..., Any]:
    """Index a folder, the whole filespace by default."""

    async def run(directory: Path | str = mount, **options: Any) -> IndexResult:
        return await Indexer(settings).index(str(directory), **options)

    return run


@contextmanager
def connect(settings: Settings) -> Iterator[Any]:
    connection = psycopg2.connect(**connection_arguments(settings), cursor_factory=NamedTupleCursor)
    with closing(connection), connection.cursor() as cursor:
        yield cursor


def fetch(settings: Settings, statement: str, *parameters: object) -> list[Any]:
    with connect(settings) as cursor:
        cursor.execute(statement, parameters)
        rows: list[Any] = cursor.fetchall() if cursor.description else []
        cursor.connection.commit()
        return rows


def read_rows(settings: Settings) -> dict[str, Any]:
    return {row.path: row for row in fetch(settings, "SELECT *, xmin::text FROM files")}


def paths_below(settings: Settings, mount: Path) -> set[str]:
    """The indexed paths, relative to the mount point, which itself is left out."""
    return {path.removeprefix(f"{mount}/") for path in read_rows(settings) if path != str(mount)}


def set_cached_flags(settings: Settings) -> None:
    fetch(settings, "UPDATE files SET cached = true, cached_at = now(), cache_job_id = %s", JOB)


def write(path: Path, content: str = "x", modified_ns: int = MODIFIED_NS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, ns=(modified_ns, modified_ns))
    return path


def written(result: IndexResult) -> tuple[int, int, int]:
    return result.added, result.changed, result.removed


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


def has_met_a_lock(settings: Settings) -> bool:
    """Whether somebody waits for a lock, or has given up on one."""
    activity = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND (wait_event_type = 'Lock' OR query = 'ROLLBACK')"
    )
    return bool(fetch(settings, activity))


async def until_threads_ended() -> None:
    await until(lambda: not any(t.name.startswith("index") for t in threading.enumerate()))


def apply_listings(settings: Settings, mount: Path, *listings: Listing) -> Changes:
    """Write listings that no filesystem here would give."""
    with connect(settings) as cursor:
        table = IndexTable(cursor.connection, str(mount), lambda _seconds: None)
        table.load()
        for listing in listings:
            table.add(listing)
        return table.apply(found_nothing=False, allow_empty=False)
