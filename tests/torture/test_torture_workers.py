"""kill -9 of workers at random moments: each file is counted once, and every job completes."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from gateway.job import Job
from gateway.settings import Settings
from support.processes import PATIENCE, Command, environment, running_command
from support.torture_kit import MOMENTS, Counter, Moment, draw_moments, drawn, torture
from support.worker_kit import (
    Bench,
    assert_never_falls,
    counters,
    item_states,
    open_bench,
    query,
)

pytestmark = [pytest.mark.torture, torture()]
WORKERS = 3
MAX_ACTIVE_JOBS = 3
POLL_SECONDS = 0.05
SMALL = {f"{folder}/{number}": 3 for folder in "ab" for number in range(200)}
LARGE = {f"{folder}/large{number}": 4 << 20 for folder in "ab" for number in range(3)}
FILES = SMALL | LARGE
STRAYS = (
    "SELECT id FROM cache_job_items AS i WHERE status = 'running'"
    " AND NOT EXISTS (SELECT FROM teamcache_gateway.workers AS w WHERE w.id = i.worker_id)"
)


@pytest.fixture
async def bench(database_settings: Settings, tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench(database_settings, tmp_path.resolve() / "mount") as bench:
        await bench.index(FILES)
        yield bench


class Jobs:
    """Some jobs that are always there to be worked on, and how each of them went on."""

    def __init__(self, bench: Bench, rng: random.Random) -> None:
        self.seen: dict[str, list[Job]] = defaultdict(list)
        self.totals: dict[str, tuple[int, int]] = {}
        self.enough = asyncio.Event()
        self._bench = bench
        self._rng = rng
        self._active: set[str] = set()

    async def keep_coming(self) -> None:
        """Poll the jobs, and submit new ones until there are enough; then wait for their ends."""
        while self._active or not self.enough.is_set():
            while len(self._active) < MAX_ACTIVE_JOBS and not self.enough.is_set():
                await self._submit()
            for job_id in tuple(self._active):
                job = await self._bench.store.get(job_id)
                self.seen[job_id].append(job)
                if job.status.has_ended:
                    self._active.discard(job_id)
            await asyncio.sleep(POLL_SECONDS)

    async def _submit(self) -> None:
        folders = self._rng.choice([["a"], ["b"], ["a", "b"]])
        job_id = await self._bench.submit(*folders)
        sizes = [size for name, size in FILES.items() if name[0] in folders]
        self.totals[job_id] = (len(sizes), sum(sizes))
        self._active.add(job_id)

    def assert_all_counted_once(self) -> None:
        for job_id, (files, size) in self.totals.items():
            assert counters(self._bench.settings, job_id) == ("completed", files, 0, size, 0)
            assert item_states(self._bench.settings, job_id) == {"completed": files}
            assert_never_falls(self.seen[job_id])
        assert query(self._bench.settings, STRAYS) == []


class Lane:
    """One worker after another."""

    def __init__(self, bench: Bench, folder: Path, news: Counter) -> None:
        self._bench = bench
        self._folder = folder
        self._publisher = news

    def worker(self) -> AbstractAsyncContextManager[Command]:
        env = environment(
            self._bench.settings,
            CONTAINER_MOUNT_POINT=str(self._bench.mount),
            WORKER_LEASE="1",
            WORKER_CONCURRENCY="3",
            WORKER_CHUNK_SIZE="16384",
            CACHE_PROGRESS_TIME_THRESHOLD="100",
            SHUTDOWN_TIMEOUT="60",
        )
        return running_command("worker", env=env, cwd=self._folder)

    async def kill_at(self, moments: Iterator[Moment]) -> None:
        for moment in moments:
            async with self.worker() as worker:
                await worker.says("ready")
                await self._publisher.reaches(moment)
                worker.send(signal.SIGKILL)
                assert await worker.end() == -signal.SIGKILL

    async def stop_at(self, moments: Iterator[Moment]) -> None:
        for moment in moments:
            async with self.worker() as worker:
                await worker.says("ready")
                await self._publisher.reaches(moment)
                assert await worker.stop(2 * PATIENCE) == 0
                assert not [line for line in worker.lines if "ending at once" in line]
                # Whoever has no lease any more holds no file.
                assert query(self._bench.settings, STRAYS) == []


@pytest.mark.parametrize("method", ["kill_at", "stop_at"], ids=["killed", "stopped"])
async def test_workers_lose_no_file_and_count_none_twice(
    bench: Bench, tmp_path: Path, method: str
) -> None:
    rng = drawn(f"workers {method}")
    news, jobs = Counter(), Jobs(bench, rng)
    lanes = [Lane(bench, tmp_path, news) for _ in range(WORKERS)]
    moments = draw_moments(rng, events=10, seconds=0.1)
    async with asyncio.TaskGroup() as group:
        counting = group.create_task(news.count_announcements(bench.database))
        coming = group.create_task(jobs.keep_coming())
        await asyncio.gather(*(getattr(lane, method)(moments) for lane in lanes))
        jobs.enough.set()
        async with lanes[0].worker(), asyncio.timeout(3 * PATIENCE):
            await coming
        counting.cancel()
    jobs.assert_all_counted_once()
    files = sum(count for count, _size in jobs.totals.values())
    print(f"{MOMENTS} workers {method}: {len(jobs.totals)} jobs of {files} files")
