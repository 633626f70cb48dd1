"""What the tests of the worker share: a tree of files, a job on it, a worker beside the test."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extras import NamedTupleCursor

from gateway.database import Database, connection_arguments
from gateway.index.indexer import Indexer
from gateway.job import JOBS_CHANNEL, Job, JobStatus
from gateway.jobs.store import JobRequest, JobStore
from gateway.settings import Settings
from gateway.worker.item_store import ItemStore
from gateway.worker.readers.file_source import PosixFiles
from gateway.worker.timers import Timers
from gateway.worker.worker import Worker

PATIENCE = 60.0
# Nothing in a test is worth waiting for as long as in production.
QUICK = Timers(check=0.02, idle=0.2, nothing=0.1, retry=0.1, flags_retry=0.05, mount=0.2)
# The server has other databases, in which others may wait.
BLOCKED = """
SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


def write_tree(root: Path, files: Mapping[str, int]) -> None:
    """Write files of so many bytes below ``root``; a name that ends in / is an empty folder."""
    for name, size in files.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(size)


def query(settings: Settings, statement: str, *parameters: object) -> list[Any]:
    """Run a statement and return its rows, if it has any."""
    connection = psycopg2.connect(**connection_arguments(settings))
    with closing(connection), connection, connection.cursor(cursor_factory=NamedTupleCursor) as cur:
        cur.execute(statement, parameters or None)
        return cur.fetchall() if cur.description else []


async def until_blocked(settings: Settings, count: int = 1) -> None:
    """Wait until ``count`` statements in the database wait for a lock."""
    async with asyncio.timeout(PATIENCE):
        while len(query(settings, BLOCKED)) < count:
            await asyncio.sleep(0.02)


def item_states(settings: Settings, job_id: str) -> dict[str, int]:
    rows = query(
        settings,
        "SELECT status, count(*) AS n FROM cache_job_items WHERE job_id = %s GROUP BY status",
        job_id,
    )
    return {row.status: row.n for row in rows}


def counters(settings: Settings, job_id: str) -> tuple[Any, ...]:
    """(status, completed files, failed files, completed bytes, failed bytes) of a job."""
    [row] = query(
        settings,
        "SELECT status, completed_files, failed_files, completed_size_bytes, failed_size_bytes"
        " FROM cache_jobs WHERE id = %s",
        job_id,
    )
    return tuple(row)


class Bench:
    """A database, a mount, jobs on it, and what became of them."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.store = JobStore(database, 60)
        self.mount = Path(settings.container_mount_point)

    async def index(self, files: Mapping[str, int]) -> None:
        write_tree(self.mount, files)
        await Indexer(self.settings).index(str(self.mount))

    async def submit(self, *directories: str, files: Sequence[str] = (), size: int = 0) -> str:
        """Create a job on directories of the index, and on files that need not exist."""
        job = await self.store.create(
            JobRequest(
                trees=[str(self.mount / name).rstrip("/") for name in directories],
                paths=[name if name.startswith("/") else str(self.mount / name) for name in files],
                sizes=[size] * len(files),
            )
        )
        return job.id

    async def watch(
        self, job_id: str, until: Callable[[Job], bool], seen: list[Job] | None = None
    ) -> Job:
        """Wait until the job is as wanted, woken by the database's announcements."""
        async with (
            asyncio.timeout(PATIENCE),
            aclosing(self.database.listen(JOBS_CHANNEL)) as announcements,
        ):
            async for _ in announcements:
                job = await self.store.get(job_id)
                if seen is not None:
                    seen.append(job)
                if until(job):
                    return job
        raise AssertionError("listening ended")

    async def end_of(self, job_id: str, seen: list[Job] | None = None) -> Job:
        return await self.watch(job_id, lambda job: job.status.has_ended, seen)

    @asynccontextmanager
    async def working(self, **options: Any) -> AsyncIterator[asyncio.Task[None]]:
        """A worker with a database pool of its own, stopped in order at the end."""
        settings = self.settings.model_copy(update=options.pop("settings", {}))
        options = {"timers": QUICK} | options
        stop = asyncio.Event()
        async with Database(settings) as database:
            task = asyncio.create_task(Worker(settings, database, **options).run(stop))
            try:
                yield task
            finally:
                stop.set()
                async with asyncio.timeout(PATIENCE):
                    await task


@asynccontextmanager
async def open_bench(settings: Settings, mount: Path, **changes: Any) -> AsyncIterator[Bench]:
    mount.mkdir(exist_ok=True)
    # A folder without anything in it is a filespace that is not mounted; a FIFO is no row of the
    # index.
    with suppress(FileExistsError):
        os.mkfifo(mount / ".something")
    changes = {"container_mount_point": str(mount), "cache_progress_time_threshold": 100} | changes
    settings = settings.model_copy(update=changes)
    async with Database(settings) as database:
        yield Bench(settings, database)


@pytest.fixture
async def bench(database_settings: Settings, tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench(database_settings, tmp_path.resolve() / "mount") as bench:
        yield bench


@pytest.fixture
async def item_store(bench: Bench) -> ItemStore:
    """A worker's view of the items, under a lease of its own."""
    item_store = ItemStore(bench.database, 60)
    await item_store.take_lease()
    return item_store


class GatedFiles(PosixFiles):
    """Real files whose reads wait at a gate, from byte ``after`` on, if their path says so."""

    def __init__(self, root: Path, held: str = "", after: int = 0) -> None:
        super().__init__(str(root))
        self.gate = threading.Event()
        self.waiting = threading.Event()
        self.closed: list[str] = []
        self._held = held
        self._after = after
        self._paths: dict[int, str] = {}

    def open(self, path: str, /) -> tuple[int, int]:
        descriptor, size = super().open(path)
        self._paths[descriptor] = path
        return descriptor, size

    # A method here, the bare builtin there: what matters is how it is called.
    def read(self, descriptor: int, buffers: Sequence[memoryview], offset: int, /) -> int:  # type: ignore[override]
        held = self._held in self._paths[descriptor]
        if held and offset >= self._after:
            self.waiting.set()
            self.gate.wait(PATIENCE)
        return os.preadv(descriptor, buffers, offset)

    def close(self, descriptor: int, /) -> None:
        self.closed.append(self._paths.pop(descriptor))
        super().close(descriptor)


async def happens(event: threading.Event) -> None:
    """Wait for something in another thread."""
    assert await asyncio.to_thread(event.wait, PATIENCE)


def ended_bytes(job: Job) -> int:
    return job.progress.completed_bytes + job.progress.failed_bytes


def assert_never_falls(seen: Sequence[Job]) -> None:
    for measure in (lambda job: job.progress.percentage, ended_bytes):
        values = [measure(job) for job in seen]
        assert values == sorted(values)
    assert all(j.progress.percentage < 100 or j.status is not JobStatus.RUNNING for j in seen)
