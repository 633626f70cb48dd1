"""Jobs of large files share the readers equally, whichever was there first."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.worker import pacing
from support.worker_kit import PATIENCE, QUICK, Bench, GatedFiles, query


class OneByOne(GatedFiles):
    """Real files, of which one ends whenever the test lets it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, held="nothing is held")
        self.passes = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)

    def read(self, descriptor: int, buffers: Sequence[memoryview], offset: int, /) -> int:  # type: ignore[override]
        assert self.passes.acquire(timeout=PATIENCE)
        return super().read(descriptor, buffers, offset)

    def close(self, descriptor: int, /) -> None:
        super().close(descriptor)
        self.ended.release()

    async def let_one_end(self, bench: Bench, readers: int) -> None:
        """Let a file end, and wait until it is reported and its place was given away."""
        self.passes.release()
        assert await asyncio.to_thread(self.ended.acquire, timeout=PATIENCE)
        async with asyncio.timeout(PATIENCE):
            while not self._is_steady(bench, readers):
                await asyncio.sleep(0.01)

    def _is_steady(self, bench: Bench, readers: int) -> bool:
        [items] = query(
            bench.settings,
            "SELECT count(*) FILTER (WHERE status = 'running') AS running,"
            " count(*) FILTER (WHERE status = 'completed') AS completed FROM cache_job_items",
        )
        held = readers + pacing.MIN_AHEAD
        return (items.running, items.completed) == (held, len(self.closed))

    def by_job(self) -> Counter[str]:
        return Counter(Path(path).parent.name for path in self.closed)


# As if files took longer to read than the time for which work is claimed ahead: hardly any wait.
TIMERS = replace(QUICK, ahead=0.0)
# Each end is reported by itself.
AT_ONCE = {"cache_progress_file_threshold": 1, "cache_progress_time_threshold": 20}


@pytest.mark.parametrize(("jobs", "readers"), [(6, 4), (12, 2)])
async def test_jobs_of_large_files_get_equal_shares(bench: Bench, jobs: int, readers: int) -> None:
    names = [f"job{number}" for number in range(jobs)]
    await bench.index({f"{name}/{number}": 10 for name in names for number in range(40)})
    for name in names:
        await bench.submit(name)
    source = OneByOne(bench.mount)
    settings = {"worker_concurrency": readers, **AT_ONCE}
    async with bench.working(source=source, settings=settings, timers=TIMERS):
        for _ in range(36):
            await source.let_one_end(bench, readers)
        read = source.by_job()
        source.passes.release(10_000)
    assert set(read) == set(names)
    assert max(read.values()) - min(read.values()) <= 2, read


async def test_a_new_job_of_large_files_gets_the_next_place(bench: Bench) -> None:
    await bench.index(
        {f"old{job}/{number}": 10 for job in range(5) for number in range(40)} | {"new/one": 10}
    )
    for job in range(5):
        await bench.submit(f"old{job}")
    source = OneByOne(bench.mount)
    settings = {"worker_concurrency": 4, **AT_ONCE}
    async with bench.working(source=source, settings=settings, timers=TIMERS):
        for _ in range(10):
            await source.let_one_end(bench, 4)
        new = await bench.submit("new")
        ending = asyncio.create_task(bench.end_of(new))
        for _ in range(12):
            await source.let_one_end(bench, 4)
        was_read = source.by_job()["new"]
        source.passes.release(10_000)
        await ending
    assert was_read
