"""Slow: jobs on a filespace that answers in 20–80 ms, against what its link carries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from bench.measure import Measure
from bench.slow_files import SlowFiles
from bench.stage import scratch_folder, stage
from bench.warm import GIB, MIB, JobTimer
from gateway.database import Database
from gateway.index.indexer import Indexer
from gateway.settings import Settings
from gateway.worker.readers.file_source import FileSource
from gateway.worker.worker import Worker

LINK = 300_000_000  # bytes per second
SMALL_FILES = 3_000
LARGE = 20 * GIB
# A limit far below the link's, and files for three seconds of it.
LIMIT = 50_000_000
LIMITED_FILES = 150
ROUNDS_AT_MOST = 2  # a large file takes more than a minute


async def measure(rounds: int) -> AsyncIterator[Measure]:
    """3,000 files of 1 MiB, and one of 20 GiB; none of their bytes is stored anywhere."""
    rounds = min(rounds, ROUNDS_AT_MOST)
    with scratch_folder() as folder:
        media = folder / "media"
        sizes = {str(media / f"small/{n // 100}/{n}.exr"): MIB for n in range(SMALL_FILES)}
        sizes |= {str(media / f"limited/{n}.exr"): MIB for n in range(LIMITED_FILES)}
        sizes[str(media / "large/a.mov")] = LARGE
        _declare(sizes)
        async with stage(folder, media) as settings, Database(settings) as database:
            await Indexer(settings).index(str(media))
            bench = _Slow(settings, database, sizes)
            yield await bench.limited(media / "limited", rounds)
            yield await bench.against_link(
                "slow filespace, small files", (SMALL_FILES, "files of 1 MiB"),
                media / "small", SMALL_FILES, SMALL_FILES * MIB, rounds,
            )  # fmt: skip
            yield await bench.against_link(
                "slow filespace, a large file", (LARGE // GIB, "GiB"),
                media / "large", 1, LARGE, rounds,
            )  # fmt: skip


class _Slow:
    def __init__(self, settings: Settings, database: Database, sizes: Mapping[str, int]) -> None:
        self._settings = settings
        self._database = database
        self._sizes = sizes

    async def against_link(
        self,
        name: str,
        size: tuple[int, str],
        directory: Path,
        files: int,
        amount: int,
        rounds: int,
    ) -> Measure:
        """The floor is a computed one: the link carries so many bytes per second."""
        seconds = [
            await self._job(directory, files, self._settings, SlowFiles(self._sizes, LINK))
            for _ in range(rounds)
        ]
        count, things = size
        return Measure(name, things, count, "the link", 1 / 0.9, seconds, [amount / LINK] * rounds)

    async def limited(self, directory: Path, rounds: int) -> Measure:
        """From the first byte to the last: neither faster nor slower than the limit says."""
        seconds: list[float] = []
        for _ in range(rounds):
            source = SlowFiles(self._sizes, LINK)
            settings = self._settings.model_copy(update={"worker_max_bytes_per_second": LIMIT})
            await self._job(directory, LIMITED_FILES, settings, source)
            seconds.append(source.delivered[-1][0] - source.delivered[0][0])
            assert seconds[-1] >= 0.95 * (LIMITED_FILES - 1) * MIB / LIMIT, "faster than the limit"
        floor = [(LIMITED_FILES - 1) * MIB / LIMIT] * rounds
        name = "slow filespace, limited to 50 MB/s"
        return Measure(name, "files of 1 MiB", LIMITED_FILES, "the limit", 1.05, seconds, floor)

    async def _job(
        self, directory: Path, files: int, settings: Settings, source: FileSource
    ) -> float:
        stop = asyncio.Event()
        worker = Worker(settings, self._database, source=source)
        working = asyncio.create_task(worker.run(stop))
        try:
            timer = JobTimer(settings, self._database)
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
