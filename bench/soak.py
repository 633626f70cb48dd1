"""Mixed load for a long time, and whether the processes stay as they are: ``python -m bench.soak``.

A gateway, a worker and a PostgreSQL of their own. Memory, descriptors and tasks are looked at every
second; after a warm-up a straight line is laid through each, which must not rise.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, linear_regression
from typing import Any

import aiohttp

from bench.free_ports import free_port
from bench.stage import KEY, scratch_folder, stage
from gateway.index.indexer import Indexer
from gateway.runtime.process import run
from gateway.settings import Settings

FOLDERS, FILES, FILE_SIZE = 20, 50, 16 * 1024
# The share of the time in which caches fill and pools grow.
WARM_UP = 0.4
MIB = 1024 * 1024
# What a figure may grow from the warm-up to the end: a share of its mean, and so much more.
ALLOWED: Mapping[str, tuple[float, float]] = {
    "MiB": (0.05, 4), "descriptors": (0.2, 12), "tasks": (0.2, 12),
}  # fmt: skip
START_SECONDS = 60


@dataclass
class Series:
    """A figure over time: seconds and values."""

    name: str
    unit: str
    times: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, moment: float, value: float) -> None:
        self.times.append(moment)
        self.values.append(value)

    @property
    def growth(self) -> float:
        """What the figure grew after the warm-up, by the line through its values."""
        first = int(len(self.times) * WARM_UP)
        times, values = self.times[first:], self.values[first:]
        if len(times) < 2:
            return 0.0
        return linear_regression(times, values).slope * (times[-1] - times[0])

    @property
    def allowed(self) -> float:
        share, more = ALLOWED[self.unit]
        return share * fmean(self.values) + more

    @property
    def is_flat(self) -> bool:
        return self.growth <= self.allowed

    def __str__(self) -> str:
        verdict = "flat" if self.is_flat else "GROWS"
        return (
            f"{self.name}: {self.values[0]:.1f} to {self.values[-1]:.1f} {self.unit}, at most"
            f" {max(self.values):.1f}; {self.growth:+.1f} after the warm-up"
            f" (allowed {self.allowed:.1f}): {verdict}"
        )


class Load:
    """What clients do, well brought up and otherwise. ``done`` counts it by kind."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self._port = port
        self._url = f"http://127.0.0.1:{port}"
        self._chance = random.Random(1)
        self._jobs: list[str] = []
        self.done: dict[str, int] = {}
        self.faults: list[str] = []

    @property
    def kinds(self) -> Sequence[tuple[Callable[[], Awaitable[None]], float, int]]:
        """What is done, the seconds between two times, and by how many at once."""
        return (
            (self.submit, 0.3, 1),
            (self.poll, 0.01, 2),
            (self.list, 0.05, 1),
            (self.cancel, 1.0, 1),
            (self.listen, 0.05, 6),
            (self.show_a_wrong_key, 0.2, 1),
            (self.read_slowly, 0.1, 4),
            (self.hang_up, 0.05, 1),
        )

    async def repeat(self, work: Callable[[], Awaitable[None]], pause: float) -> None:
        while True:
            try:
                await work()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                self.faults.append(f"{work.__name__}: {error!r}")
            self.done[work.__name__] = self.done.get(work.__name__, 0) + 1
            await asyncio.sleep(pause * self._chance.uniform(0.5, 1.5))

    async def submit(self) -> None:
        folder = f"folder-{self._chance.randrange(FOLDERS):02}"
        answer = await self._ask("POST", "/cache/jobs", 201, json={"directories": [folder]})
        self._jobs = [*self._jobs[-50:], answer["jobId"]]

    async def poll(self) -> None:
        if self._jobs:
            await self._ask("GET", f"/cache/jobs/{self._chance.choice(self._jobs)}")

    async def list(self) -> None:
        await self._ask("GET", "/cache/jobs?limit=50")

    async def cancel(self) -> None:
        await self.submit()
        await self._ask("DELETE", f"/cache/jobs/{self._jobs[-1]}", 200, 409)

    async def listen(self) -> None:
        headers = {"X-API-Key": KEY}
        async with self._session.ws_connect(f"{self._url}/ws", headers=headers) as stream:
            await stream.send_json({"type": "subscribe", "channel": "jobs"})
            with suppress(TimeoutError):
                async with asyncio.timeout(self._chance.uniform(0, 3)):
                    async for _ in stream:
                        pass

    async def show_a_wrong_key(self) -> None:
        headers = {"X-API-Key": f"wrong-{self._chance.random()}"}
        await self._ask("GET", "/cache/jobs", 401, 429, headers=headers)

    async def read_slowly(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5)
        for _ in range(20):
            await reader.read(1000)
            await asyncio.sleep(0.05)
        writer.transport.abort()

    async def hang_up(self) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(
            b"POST /api/v1/cache/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
        )
        await asyncio.sleep(self._chance.uniform(0, 0.2))
        writer.transport.abort()

    async def _ask(self, method: str, path: str, *wanted: int, **options: Any) -> Any:
        url = f"{self._url}/api/v1{path}"
        async with self._session.request(method, url, **options) as answer:
            if answer.status not in (wanted or (200,)):
                self.faults.append(f"{method} {path}: {answer.status} {await answer.text()}")
            return await answer.json()


class Watch:
    """Looks at the processes once a second."""

    def __init__(self, url: str, session: aiohttp.ClientSession, pids: Mapping[str, int]) -> None:
        self._url = url
        self._session = session
        self._pids = pids
        self.series: dict[tuple[str, str], Series] = {}

    async def run(self, seconds: float) -> None:
        started = time.monotonic()
        while (now := time.monotonic() - started) < seconds:
            for name, pid in self._pids.items():
                self._note(now, name, "MiB", memory(pid) / MIB)
                self._note(now, name, "descriptors", len(os.listdir(f"/proc/{pid}/fd")))
            self._note(now, "gateway", "tasks", await self._tasks())
            await asyncio.sleep(1)

    def _note(self, now: float, name: str, unit: str, value: float) -> None:
        self.series.setdefault((name, unit), Series(name, unit)).add(now, value)

    async def _tasks(self) -> float:
        headers = {"Accept": "text/plain"}
        async with self._session.get(f"{self._url}/api/v1/metrics", headers=headers) as answer:
            text = await answer.text()
        found = re.search(r"^teamcache_gateway_tasks (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0


def memory(pid: int) -> int:
    """What a process has in memory, in bytes."""
    resident = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(resident) * os.sysconf("SC_PAGE_SIZE")


@asynccontextmanager
async def process(command: str, settings: Settings, port: int) -> AsyncIterator[int]:
    """A command of the gateway; gives its process's id."""
    environ = {
        "API_GATEWAY_KEY": KEY, "API_GATEWAY_HOST": "127.0.0.1", "API_GATEWAY_PORT": str(port),
        "DB_HOST": settings.db_host, "DB_PORT": str(settings.db_port),
        "CONTAINER_MOUNT_POINT": settings.container_mount_point,
        "RATE_LIMIT_PER_MINUTE": "0", "POLL_LIMIT_PER_MINUTE": "0", "LOG_LEVEL": "warning",
    }  # fmt: skip
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", command), env=os.environ | environ
    )
    try:
        yield started.pid
    finally:
        with suppress(ProcessLookupError):
            started.send_signal(signal.SIGTERM)
        await started.wait()


def make_files(media: Path) -> None:
    for folder in range(FOLDERS):
        (media / f"folder-{folder:02}").mkdir(parents=True)
        for number in range(FILES):
            (media / f"folder-{folder:02}" / f"{number:03}.exr").write_bytes(bytes(FILE_SIZE))


async def soak(seconds: float) -> tuple[list[Series], Load]:
    """Load it for so long; what was seen, and what was done."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        make_files(media := folder / "media")
        settings = await stack.enter_async_context(stage(folder, media))
        await Indexer(settings).index(str(media))
        port = free_port()
        pids = {
            "gateway": await stack.enter_async_context(process("serve", settings, port)),
            "worker": await stack.enter_async_context(process("worker", settings, port)),
        }
        session = await stack.enter_async_context(aiohttp.ClientSession(headers={"X-API-Key": KEY}))
        await _until_healthy(session, url := f"http://127.0.0.1:{port}")
        load, watch = Load(session, port), Watch(url, session, pids)
        tasks = [
            asyncio.create_task(load.repeat(work, pause))
            for work, pause, count in load.kinds
            for _ in range(count)
        ]
        await watch.run(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return list(watch.series.values()), load


async def _until_healthy(session: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            with suppress(aiohttp.ClientError):
                async with session.get(f"{url}/api/v1/health") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    seconds = parser.parse_args(arguments).minutes * 60
    series, load = run(soak(seconds))
    print("done:", ", ".join(f"{name} {count}" for name, count in load.done.items()))
    for one in series:
        print(one)
    for fault in load.faults[:10]:
        print("FAULT", fault)
    return 0 if all(one.is_flat for one in series) and not load.faults else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
