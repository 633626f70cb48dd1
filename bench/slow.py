"""Slow: jobs on a filespace that answers in 20–80 ms, against what its link carries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from bench.measure import Measure
from bench.slow_files import SlowFiles
from bench.stage import scratch_folder, stage
from bench.warm import GIB, MIB, JobTimer
from gateway.database import Database
from gateway.indexer import Indexer
from gateway.job_store import JobStore
from gateway.settings import Settings
from gateway.worker.file_source import FileSource
from gateway.worker.worker import Worker

LINK = 300_000_000  # bytes per second
SMALL_FILES = 3_000
LARGE = 20 * GIB
ROUNDS_AT_MOST = 2  # a large file takes more than a minute


async def measure(rounds: int) -> AsyncIterator[Measure]:
    """3,000 files of 1 MiB, and one of 20 GiB; none of their bytes is stored anywhere."""
    rounds = min(rounds, ROUNDS_AT_MOST)
    with scratch_folder() as folder:
        media = folder / "media"
        sizes = {str(media / f"small/{n // 100}/{n}.exr"): MIB for n in range(SMALL_FILES)}
        sizes[str(media / "large/a.mov")] = LARGE
        _declare(sizes)
        async with stage(folder, media) as settings, Database(settings) as database:
            await Indexer(settings).index(str(media))
            bench = _Slow(settings, database, lambda: SlowFiles(sizes, LINK))
            yield await bench.against_link(
                "slow filespace, 1 MiB files", f"{SMALL_FILES:,} of 1 MiB",
                media / "small", SMALL_FILES, SMALL_FILES * MIB, rounds,
            )  # fmt: skip
            yield await bench.against_link(
                "slow filespace, a large file", "1 of 20 GiB", media / "large", 1, LARGE, rounds
            )


class _Slow:
    def __init__(
        self, settings: Settings, database: Database, source: Callable[[], FileSource]
    ) -> None:
        self._settings = settings
        self._database = database
        self._source = source

    async def against_link(
        self, name: str, size: str, directory: Path, files: int, amount: int, rounds: int
    ) -> Measure:
        """The floor is a computed one: the link carries so many bytes per second."""
        seconds = [await self._job(directory, files) for _ in range(rounds)]
        return Measure(name, "the link", size, 1 / 0.9, seconds, [amount / LINK] * rounds)

    async def _job(self, directory: Path, files: int) -> float:
        stop = asyncio.Event()
        worker = Worker(self._settings, self._database, source=self._source())
        working = asyncio.create_task(worker.run(stop))
        try:
            timer = JobTimer(self._settings, JobStore(self._database, 600))
            return await timer.job(directory, files)
        finally:
            stop.set()
            await working


def _declare(sizes: Mapping[str, int]) -> None:
    """Holes of these sizes, for the indexer to look at."""
    for path, size in sizes.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with Path(path).open("wb") as output:
            output.truncate(size)
