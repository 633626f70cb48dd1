"""A network between us and PostgreSQL that fails in every way: bounded 503s, and all recovers."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.database import Database
from gateway.database import database as database_module
from gateway.database.arguments import NETWORK_SECONDS
from gateway.errors import DatabaseUnavailable
from gateway.http import app_keys
from gateway.job import JobStatus
from gateway.settings import Settings
from support.database import HEALTH, StartApi, wait_until_ready
from support.fault_proxy import FaultProxy
from support.index_rows import add_files, make_job
from support.sessions import SLEEP, watch_loop
from support.worker_kit import GatedFiles, counters, happens, item_states, open_bench

JOBS = "/api/v1/cache/jobs"
CONNECT, STATEMENT, GRACE = 1.0, 1.0, 0.5
# A place, a connection, a statement and its grace, twice for a read that is tried again; and what
# a machine that is busy adds.
BOUND = 2 * (2 * CONNECT + STATEMENT + GRACE) + 15

Fault = Callable[[FaultProxy], Awaitable[None]]


async def black_hole(proxy: FaultProxy) -> None:
    proxy.black_hole()


async def reset(proxy: FaultProxy) -> None:
    proxy.reset()


async def go_away(proxy: FaultProxy) -> None:
    await proxy.go_away()


async def delay(proxy: FaultProxy) -> None:
    proxy.delay = 4.0


async def cut(proxy: FaultProxy) -> None:
    proxy.cut_after = 40
    proxy.drop()


FAULTS = (black_hole, reset, go_away, delay, cut)


def each_fault() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "GRACE_SECONDS", GRACE)


@pytest.fixture
async def proxy(database_settings: Settings) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(database_settings.db_host, database_settings.db_port) as proxy:
        yield proxy


def through(proxy: FaultProxy) -> dict[str, Any]:
    return {
        "db_host": "127.0.0.1",
        "db_port": proxy.port,
        "db_connect_timeout": CONNECT,
        "db_statement_timeout": STATEMENT,
    }


@pytest.fixture
async def api(start_api: StartApi, database_settings: Settings, proxy: FaultProxy) -> Any:
    add_files(database_settings, ["a/1.mov"])
    return await start_api(**through(proxy), db_pool_size=4)


async def ask_everything(api: Any, job_id: str) -> list[tuple[int, bool]]:
    """Status, and whether it says when to come back, of each request, all at once."""
    asked = [
        api.get(HEALTH),
        api.get(JOBS),
        api.get(f"{JOBS}/{job_id}"),
        api.get(f"{JOBS}/{job_id}/files"),
        api.delete(f"{JOBS}/{job_id}"),
        api.post(JOBS, json={"directories": ["a"]}),
    ]
    async with asyncio.timeout(BOUND):
        return [(one.status, "Retry-After" in one.headers) for one in await asyncio.gather(*asked)]


@each_fault()
async def test_requests_are_answered_503_in_bounded_time_and_all_recovers(
    api: Any, database_settings: Settings, proxy: FaultProxy, fault: Fault
) -> None:
    job_id = make_job(database_settings)
    database = api.server.app[app_keys.DATABASE]
    watch_loop()
    # Several connections are there already when it happens.
    await asyncio.gather(*(api.get(JOBS) for _ in range(8)))
    await fault(proxy)
    # More than there are connections, and when those of the pool were found out as well.
    for _ in range(3):
        started = time.monotonic()
        answers = await ask_everything(api, job_id)
        print(f"{fault.__name__}: {time.monotonic() - started:.1f} s")
        assert answers == [(503, True)] * 6
    await proxy.heal()
    async with asyncio.timeout(BOUND):
        await wait_until_ready(api)
    statuses = [status for status, _ in await ask_everything(api, make_job(database_settings))]
    assert statuses == [200, 200, 200, 200, 200, 201]
    # Those who look after the database have come back as well, and may be at it just now.
    async with asyncio.timeout(BOUND):
        while database.in_use:
            await asyncio.sleep(0.01)


async def test_a_connection_that_is_swallowed_is_not_waited_for_as_long_as_a_submit_may_take(
    database_settings: Settings, proxy: FaultProxy
) -> None:
    settings = database_settings.model_copy(update=through(proxy) | {"db_pool_size": 1})
    async with Database(settings) as database:
        await database.ping()
        await database.fetch("SELECT 1")
        proxy.black_hole()
        async with asyncio.timeout(BOUND):
            with pytest.raises(DatabaseUnavailable):
                async with database.transaction(600.0):
                    pass
        assert database.in_use == 0


async def test_a_network_that_loses_everything_is_noticed_by_the_system(
    database_settings: Settings, proxy: FaultProxy
) -> None:
    settings = database_settings.model_copy(update=through(proxy))
    async with Database(settings) as database, database._connection(database._places) as raw:
        with socket.socket(fileno=os.dup(raw.raw.fileno())) as connection:
            told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            assert told == NETWORK_SECONDS * 1000
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


async def test_a_statement_under_way_when_it_happens_ends_in_time(
    database_settings: Settings, proxy: FaultProxy
) -> None:
    settings = database_settings.model_copy(update=through(proxy))
    watch_loop()
    async with Database(settings) as database:
        await database.ping()
        slow = asyncio.create_task(database.fetch(SLEEP))
        while not database.in_use:
            await asyncio.sleep(0)
        proxy.black_hole()
        async with asyncio.timeout(BOUND):
            with pytest.raises(DatabaseUnavailable):
                await slow
        assert database.in_use == 0


@each_fault()
async def test_a_job_that_is_being_read_goes_on_after_it(
    database_settings: Settings, tmp_path: Path, proxy: FaultProxy, fault: Fault
) -> None:
    watch_loop()
    async with AsyncExitStack() as stack:
        bench = await stack.enter_async_context(open_bench(database_settings, tmp_path / "mount"))
        await bench.index({f"a/{number:03}": 3 for number in range(300)})
        source = GatedFiles(bench.mount, held="/a/150")
        job_id = await bench.submit("a")
        changes = {"settings": through(proxy) | {"worker_lease": 20}}
        await stack.enter_async_context(bench.working(source=source, **changes))
        await bench.watch(job_id, lambda job: job.progress.completed_files > 50)
        await happens(source.waiting)
        await fault(proxy)
        source.gate.set()
        # Longer than the first waits between two attempts.
        await asyncio.sleep(3)
        await proxy.heal()
        job = await bench.end_of(job_id)
        assert job.status is JobStatus.COMPLETED
        assert counters(bench.settings, job_id) == ("completed", 300, 0, 900, 0)
        assert item_states(bench.settings, job_id) == {"completed": 300}
