"""Killing and stopping at random moments, under clients that go on: what these tests share.

A moment is drawn as so many events and some milliseconds after: on a slow machine it lies where it
lies on a fast one. TORTURE_MOMENTS says how many there are of each kind, TORTURE_SEED draws others.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.client import GatewayClient, GatewayClientError
from gateway.database import Database
from gateway.job import JOBS_CHANNEL
from gateway.settings import Settings
from support.client_server import quiet_port
from support.processes import Command, running_command
from support.worker_kit import query

MOMENTS = int(os.environ.get("TORTURE_MOMENTS", "20"))
SEED = int(os.environ.get("TORTURE_SEED", "1"))
PATIENCE = 120.0
# So many orders have a file of their own in the index, by which their job is known.
ORDERS = 200 * MOMENTS
DIRECTORIES = {"small": 20, "middle": 200, "large": 2000}
LISTED = 100
# What a client has to bear: nobody there, another attempt under way, the database away.
BORNE = (None, 409, 503)


def torture(seconds_each: float = 30.0) -> pytest.MarkDecorator:
    """Mark a module's tests; the time is what a machine may need that does ten other things."""
    return pytest.mark.timeout(300 + seconds_each * MOMENTS)


def drawn(name: str) -> random.Random:
    """The randomness of a test, told so that it can be had again."""
    print(f"\n{name}: {MOMENTS} moments, TORTURE_SEED={SEED}")
    return random.Random(f"{name} {SEED}")


@dataclass(frozen=True, slots=True)
class Moment:
    """After so many events, and so many seconds more."""

    events: int
    seconds: float


def draw_moments(rng: random.Random, events: int, seconds: float) -> Iterator[Moment]:
    return iter([Moment(rng.randint(1, events), rng.uniform(0, seconds)) for _ in range(MOMENTS)])


class Counter:
    """Counts events; whoever wants some more of them waits."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = asyncio.Condition()

    async def add(self) -> None:
        async with self._changed:
            self.count += 1
            self._changed.notify_all()

    async def reaches(self, moment: Moment) -> None:
        """Wait until the moment, counted from now."""
        wanted = self.count + moment.events
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: self.count >= wanted)
        await asyncio.sleep(moment.seconds)

    async def count_announcements(self, database: Database) -> None:
        """Count what the database announces of jobs, until cancelled."""
        async with aclosing(database.listen(JOBS_CHANNEL)) as announcements:
            async for _ in announcements:
                await self.add()


@dataclass
class Slot:
    """A place for one gateway after another, and how many submits were sent to it."""

    folder: Path
    env: dict[str, str]
    port: int = field(default_factory=quiet_port)
    sent: Counter = field(default_factory=Counter)
    killed: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def gateway(self) -> AbstractAsyncContextManager[Command]:
        env = self.env | {"API_GATEWAY_PORT": str(self.port)}
        return running_command("serve", env=env, cwd=self.folder)

    async def kill_at(self, moments: Iterator[Moment]) -> None:
        for moment in moments:
            async with self.gateway() as gateway:
                await gateway.says("ready")
                await self.sent.reaches(moment)
                gateway.send(signal.SIGKILL)
                assert await gateway.end() == -signal.SIGKILL
            self.killed += 1


@dataclass(frozen=True, slots=True)
class Order:
    """A submit, and how many files its job must hold."""

    number: int
    files: Sequence[str]
    directories: Sequence[str]
    total: int

    @property
    def key(self) -> str:
        return f"order {self.number}"


def index_of_orders() -> dict[str, int]:
    files = {f"orders/{number}.mov": 1 for number in range(ORDERS)}
    files |= {f"listed/{number}.mov": 2 for number in range(LISTED)}
    for name, count in DIRECTORIES.items():
        files |= {f"{name}/{number}.mov": 3 for number in range(count)}
    return files


class Orders:
    """Clients that submit one after another, and what each of their orders was answered."""

    def __init__(self, rng: random.Random, directories: Sequence[str] = tuple(DIRECTORIES)) -> None:
        self.rng = rng
        self.answered: dict[int, str] = {}
        self.given_up: set[int] = set()
        self.repeated = 0
        self.stopping = asyncio.Event()
        self.sent, self.news = Counter(), Counter()
        self._directories = directories
        self._made = 0

    async def keep_submitting(
        self, gateways: Sequence[GatewayClient], counters: Sequence[Counter]
    ) -> None:
        """One client's life: until told to stop, then until its last order is answered."""
        while not self.stopping.is_set():
            order = self.make()
            while not await self._submit(order, gateways, counters):
                # Some never ask again: they leave nothing, or one whole job.
                if self.rng.random() < 0.05:
                    self.given_up.add(order.number)
                    break
                await asyncio.sleep(self.rng.uniform(0, 0.1))

    async def _submit(
        self, order: Order, gateways: Sequence[GatewayClient], counters: Sequence[Counter]
    ) -> bool:
        chosen = self.rng.randrange(len(gateways))
        await counters[chosen].add()
        patience = self.rng.choice([0.0, 5.0])
        try:
            job = await send(gateways[chosen], order, patience)
        except GatewayClientError as error:
            assert error.status in BORNE, error
            return False
        assert job == self.answered.setdefault(order.number, job)
        await self.news.add()
        if self.rng.random() < 0.2:
            await self._repeat(order, self.rng.choice(gateways))
        return True

    async def _repeat(self, order: Order, gateway: GatewayClient) -> None:
        try:
            job = await send(gateway, order, 0.0)
        except GatewayClientError as error:
            assert error.status in BORNE, error
        else:
            assert job == self.answered[order.number]
            self.repeated += 1

    def make(self) -> Order:
        number, self._made = self._made, self._made + 1
        assert number < ORDERS
        count = self.rng.choice([0, 1, 10, LISTED])
        listed = self.rng.sample(range(LISTED), count)
        files = [f"orders/{number}.mov", *(f"listed/{it}.mov" for it in listed)]
        weights = [8, 4, 1][: len(self._directories)]
        directories = []
        if self.rng.random() < 0.6:
            directories = self.rng.choices(self._directories, weights)
        return Order(number, files, directories, total_of(files, directories))


def total_of(files: Sequence[str], directories: Sequence[str]) -> int:
    return len(files) + sum(DIRECTORIES[name] for name in directories)


async def send(gateway: GatewayClient, order: Order, patience: float) -> str:
    """Submit an order; gives the job's id. What is answered is a whole job."""
    job = await gateway.submit(
        files=order.files,
        directories=order.directories,
        idempotency_key=order.key,
        patience=patience,
    )
    assert job.total_files == order.total
    return job.id


JOBS = """
SELECT id::text, total_files, file_paths, directory_paths, items, bytes, total_size_bytes
FROM cache_jobs
JOIN (SELECT job_id, count(*) AS items, sum(file_size_bytes) AS bytes
      FROM cache_job_items GROUP BY job_id) AS held ON held.job_id = cache_jobs.id
"""


def assert_jobs_are_whole(settings: Settings, orders: Orders) -> None:
    """Each answered order has one job, each other one none or one, and every job is whole."""
    [jobs] = query(settings, "SELECT count(*) AS n FROM cache_jobs")
    [held] = query(settings, "SELECT count(DISTINCT job_id) AS n FROM cache_job_items")
    rows = query(settings, JOBS)
    assert jobs.n == held.n == len(rows), "jobs without files, or files without a job"
    found: dict[int, str] = {}
    mount = settings.container_mount_point
    for row in rows:
        files = [path.removeprefix(f"{mount}/") for path in row.file_paths]
        directories = [path.removeprefix(f"{mount}/") for path in row.directory_paths]
        assert row.items == row.total_files == total_of(files, directories)
        assert row.bytes == row.total_size_bytes
        [own] = [path for path in files if path.startswith("orders/")]
        number = int(own.removeprefix("orders/").removesuffix(".mov"))
        assert number not in found, "two jobs for one key"
        found[number] = row.id
    assert found.items() >= orders.answered.items()
    assert found.keys() - orders.answered.keys() <= orders.given_up
    keys = query(settings, "SELECT key, job_id::text FROM teamcache_gateway.idempotency_keys")
    assert {row.key: row.job_id for row in keys} == {f"order {n}": job for n, job in found.items()}
    print(
        f"{len(orders.answered)} orders answered, {orders.repeated} of them again;"
        f" {len(orders.given_up)} given up, {len(found) - len(orders.answered)} of them have a job"
    )
