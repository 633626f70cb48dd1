"""A PostgreSQL that goes away, loses its processes, its connections or its disk, while we work."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from aiohttp.test_utils import TestClient

from gateway.app import create_app
from gateway.database.migrations import migrate
from gateway.job import JobStatus
from gateway.settings import Settings
from gateway.standalone.postgres import SUPERUSER, EmbeddedPostgres
from support.database import HEALTH, UNLIMITED, change, server_of_its_own, wait_until_ready
from support.manager_schema import run_as
from support.optional_programs import NO_MOUNTS, leave_out
from support.sessions import OURS, settings_of, terminate_ours, watch_loop
from support.worker_kit import Bench, GatedFiles, counters, happens, item_states, open_bench

JOBS = "/api/v1/cache/jobs"
FILES = 300
# Longer than the first waits between two attempts; set it to 30 for what an operator may do.
STOPPED_SECONDS = float(os.environ.get("TEST_STOPPED_SECONDS", "4"))
BOUND = 40 + STOPPED_SECONDS
DISK = 200


class Stage:
    """A gateway, a worker with a job in its hands, and a PostgreSQL to be harmed."""

    def __init__(self, server: EmbeddedPostgres, bench: Bench, client: Any) -> None:
        self.server = server
        self.settings = bench.settings
        self.bench = bench
        self.client = client
        self.source = GatedFiles(bench.mount, held="/a/150")
        self.job_id = ""

    async def refused(self, *, health: int = 503) -> None:
        """Every request is answered, with a 503 that says when to come back."""
        asked = [
            self.client.get(HEALTH),
            self.client.get(JOBS),
            self.client.post(JOBS, json={"directories": ["a"]}),
        ]
        async with asyncio.timeout(BOUND):
            answers = await asyncio.gather(*asked)
        assert [one.status for one in answers] == [health, 503, 503]
        assert all("Retry-After" in one.headers for one in answers if one.status == 503)

    async def recovered(self) -> None:
        """Requests are answered again, and the job that was being read ends complete."""
        async with asyncio.timeout(BOUND):
            await wait_until_ready(self.client)
            while (await self.client.post(JOBS, json={"files": ["a/001"]})).status != 201:
                await asyncio.sleep(0.1)
            while not (job := await self.job()).status.has_ended:
                await asyncio.sleep(0.1)
        assert job.status is JobStatus.COMPLETED
        assert counters(self.settings, self.job_id) == ("completed", FILES, 0, 3 * FILES, 0)
        assert item_states(self.settings, self.job_id) == {"completed": FILES}

    async def job(self) -> Any:
        return await self.bench.store.get(self.job_id)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A folder on a disk of its own, of so many MB."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}m,mode=0711", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        leave_out(NO_MOUNTS)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
async def stage(
    own_server: EmbeddedPostgres, aiohttp_client: Any, tmp_path: Path
) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        yield await set_up(stack, own_server, aiohttp_client, tmp_path)


async def set_up(
    stack: AsyncExitStack, server: EmbeddedPostgres, aiohttp_client: Any, folder: Path
) -> Stage:
    watch_loop()
    settings: Settings = settings_of(server, db_statement_timeout=5.0, db_connect_timeout=2.0)
    await migrate(settings)
    bench = await stack.enter_async_context(open_bench(settings, folder / "mount"))
    await bench.index({f"a/{number:03}": 3 for number in range(FILES)})
    headers = {"X-API-Key": settings.api_gateway_key.get_secret_value()}
    app = create_app(change(bench.settings, UNLIMITED))
    client: TestClient[Any, Any] = await aiohttp_client(app, headers=headers)
    await wait_until_ready(client)
    stage = Stage(server, bench, client)
    stage.job_id = await bench.submit("a")
    await stack.enter_async_context(bench.working(source=stage.source))
    await bench.watch(stage.job_id, lambda job: job.progress.completed_files > 50)
    await happens(stage.source.waiting)
    return stage


async def test_a_postgresql_that_is_stopped_for_a_while(stage: Stage) -> None:
    await asyncio.to_thread(stage.server.stop)
    stage.source.gate.set()
    ending = asyncio.get_running_loop().time() + STOPPED_SECONDS
    while asyncio.get_running_loop().time() < ending:
        await stage.refused()
    await asyncio.to_thread(stage.server.start)
    await stage.recovered()


async def test_processes_of_postgresql_that_are_ended_over_and_over(stage: Stage) -> None:
    for number in range(20):
        await asyncio.to_thread(terminate_ours, stage.settings)
        if number == 10:
            stage.source.gate.set()
        # What is read is tried a second time, so nobody sees much of it.
        assert (await stage.client.get(JOBS)).status in (200, 503)
        await asyncio.sleep(0.05)
    await stage.recovered()


async def test_a_process_of_postgresql_that_is_killed_takes_all_with_it(stage: Stage) -> None:
    with suppress(psycopg2.Error, ProcessLookupError):
        [[pid], *_] = run_as(stage.settings, SUPERUSER, f"SELECT pid {OURS}")
        os.kill(pid, signal.SIGKILL)
    stage.source.gate.set()
    await stage.recovered()


async def test_a_postgresql_that_stands_still(stage: Stage) -> None:
    [*backends] = run_as(stage.settings, SUPERUSER, f"SELECT pid {OURS}")
    pids = [stage.server.pid, *(row[0] for row in backends)]
    send(pids, signal.SIGSTOP)
    try:
        await stage.refused()
        stage.source.gate.set()
        await stage.refused()
    finally:
        send(pids, signal.SIGCONT)
    await stage.recovered()


def send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


async def test_others_that_hold_every_connection(stage: Stage) -> None:
    hogs: list[Any] = []
    try:
        await asyncio.to_thread(take_every_connection, stage.settings, hogs)
        await stage.refused()
        stage.source.gate.set()
        await stage.refused()
    finally:
        for hog in hogs:
            hog.close()
    await stage.recovered()


def take_every_connection(settings: Settings, hogs: list[Any]) -> None:
    """Connect until there is no more; ours are ended, and their places are taken as well."""
    [first] = [connect(settings)]
    hogs.append(first)
    misses = 0
    while misses < 50:
        with closing(first.cursor()) as cursor:
            cursor.execute(f"SELECT pg_terminate_backend(pid) {OURS}")
            misses = 0 if cursor.fetchall() else misses + 1
        with suppress(psycopg2.OperationalError):
            while True:
                hogs.append(connect(settings))
                misses = 0


def connect(settings: Settings) -> Any:
    connection = psycopg2.connect(
        host=settings.db_host, port=settings.db_port, dbname=settings.db_name, user=SUPERUSER
    )
    connection.autocommit = True
    return connection


async def test_a_disk_that_is_full(
    public_folder: Path, postgres_bin: Path | None, aiohttp_client: Any, tmp_path: Path
) -> None:
    with small_disk(public_folder / "disk") as disk:
        async with AsyncExitStack() as stack:
            server = stack.enter_context(server_of_its_own(disk, postgres_bin))
            stage = await set_up(stack, server, aiohttp_client, tmp_path)
            filling = fill(disk)
            stage.source.gate.set()
            refused = await submit_until_refused(stage.client)
            assert refused.status == 503
            assert "Retry-After" in refused.headers
            assert "space" not in await refused.text()
            health = await stage.client.get("/api/v1/health")
            # Without room for its log PostgreSQL does not run at all.
            assert health.status == 503 or "full" in (await health.json())["degraded"]
            filling.unlink()
            # As standalone does, where it could not go on at all.
            await asyncio.to_thread(server.start)
            await stage.recovered()


def fill(disk: Path) -> Path:
    filling = disk / "filling"
    with filling.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"x" * 65536):
            pass
    return filling


async def submit_until_refused(client: Any) -> Any:
    """Until what PostgreSQL had left in its files is used up."""
    async with asyncio.timeout(BOUND):
        while True:
            answer = await client.post(JOBS, json={"directories": ["a"]})
            if answer.status != 201:
                return answer
