"""Warm: a submitted job, to its end, against bare threads that read the same files."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path

from bench.measure import Measure, compare
from bench.stage import memory_folder, scratch_folder, stage
from gateway.database import Database, Notification
from gateway.index.indexer import Indexer
from gateway.job import JOBS_CHANNEL, Job, JobStatus
from gateway.jobs.store import JobRequest, JobStore
from gateway.settings import Settings
from gateway.worker.worker import Worker

POLL_SECONDS = 0.01
MARKED = """
SELECT count(*) AS files FROM files WHERE cache_job_id = %(job)s::uuid AND is_directory IS NOT TRUE
"""
MIB, GIB = 1024**2, 1024**3
LARGE = (1, 4, 20)
TURNS = 3
# In memory the floor of a smaller one is not much more than the claim and the report of a job.
LARGE_ENOUGH = 4
THREADS = 16


async def measure(rounds: int) -> AsyncIterator[Measure]:
    """Larger and larger files. No disk is read: all bytes come from memory.

    The kernel drops a disk's file once the worker has read it, so the threads would find less of
    it in memory than the worker does. A file in memory is the same for both.
    """
    with scratch_folder() as folder, memory_folder() as memory:
        media = memory or folder / "media"
        where = "" if memory else ", on a disk"
        large = {gib: _large(media / f"large-{gib}", gib) for gib in LARGE}
        async with stage(folder, media) as settings, Database(settings) as database:
            await Indexer(settings).index(str(media))
            stop = asyncio.Event()
            working = asyncio.create_task(Worker(settings, database).run(stop))
            bench = JobTimer(settings, database)
            for gib, paths in large.items():
                yield await compare(
                    "warm a large file", "bare threads", (gib, f"GiB{where}"),
                    1 / 0.95 if gib >= LARGE_ENOUGH else None,
                    partial(bench.job, media / f"large-{gib}", 1), partial(bench.bare, paths),
                    rounds, turns=TURNS,
                )  # fmt: skip
            stop.set()
            await working


class JobTimer:
    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._store = JobStore(database, 600)

    async def job(self, directory: Path, files: int) -> float:
        request = JobRequest(listed_directories=[str(directory)], trees=[str(directory)])
        # Told of the end as gateways are: to look a hundred times a second would cost more.
        async with aclosing(self._database.listen(JOBS_CHANNEL)) as announcements:
            await anext(announcements)
            created = await self._store.create(request)
            started = time.perf_counter()
            job = await self._wait_for_end(created.id, announcements)
        seconds = time.perf_counter() - started
        assert (job.status, job.progress.completed_files) == (JobStatus.COMPLETED, files), job
        assert job.progress.completed_bytes == job.progress.total_bytes
        await self._wait_for_marks(created.id, files)
        return seconds

    async def _wait_for_end(self, job_id: str, announcements: AsyncIterator[Notification]) -> Job:
        async for _ in announcements:
            job = await self._store.get(job_id)
            if job.status.has_ended:
                return job
        raise AssertionError("the announcements have ended before the job")

    async def _wait_for_marks(self, job_id: str, files: int) -> None:
        """Files are marked as cached behind a job's end, which would slow down what comes next."""
        while (await self._database.fetch_one(MARKED, {"job": job_id})).files < files:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)

    async def bare(self, files: Sequence[Path]) -> float:
        return await asyncio.to_thread(_read_all, files, self._settings)


def _read_all(files: Sequence[Path], settings: Settings) -> float:
    waiting: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
    for file in [*files, *[None] * THREADS]:
        waiting.put(file)

    def read() -> None:
        buffer = bytearray(settings.worker_chunk_size)
        while (file := waiting.get()) is not None:
            descriptor = os.open(file, os.O_RDONLY)
            while os.readv(descriptor, [buffer]):
                pass
            os.close(descriptor)

    threads = [threading.Thread(target=read) for _ in range(THREADS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def _large(folder: Path, gib: int) -> Sequence[Path]:
    """A file with no block of its own: a hole."""
    path = folder / "a.mov"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as output:
        output.truncate(gib * GIB)
    return [path]
