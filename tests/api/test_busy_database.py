"""Many long submits at once: they wait for one another, and hold up nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

import pytest

from gateway.database import Database
from gateway.errors import Unavailable
from gateway.settings import Settings
from support.database import StartApi
from support.index_rows import add_files
from support.manager_schema import connect_as
from support.sessions import SLEEP, running, until_ours

JOBS = "/api/v1/cache/jobs"
POOL = 4
WAITING = "wait_event_type = 'Lock'"


@pytest.fixture
async def api(start_api: StartApi, database_settings: Settings) -> AsyncIterator[Any]:
    add_files(database_settings, ["a/1.mov"])
    yield await start_api(db_pool_size=POOL, db_connect_timeout=5.0)


@contextmanager
def jobs_locked(settings: Settings) -> Iterator[Any]:
    """While this lasts no job can be created; jobs can be read."""
    connection = connect_as(settings, settings.db_user)
    connection.autocommit = False
    try:
        connection.cursor().execute("LOCK TABLE cache_jobs IN SHARE MODE")
        yield
    finally:
        connection.close()


async def submit(api: Any) -> int:
    status: int = (await api.post(JOBS, json={"directories": ["a"]})).status
    return status


async def test_submits_that_take_long_leave_connections_to_everybody_else(
    api: Any, database_settings: Settings
) -> None:
    submits = [asyncio.create_task(submit(api)) for _ in range(3 * POOL)]
    with jobs_locked(database_settings):
        submits += [asyncio.create_task(submit(api)) for _ in range(3 * POOL)]
        await until_ours(database_settings, POOL // 2, WAITING)
        for _ in range(5):
            assert (await api.get("/api/v1/health")).status == 200
            assert (await api.get(JOBS)).status == 200
    assert set(await asyncio.gather(*submits)) == {201}


async def test_a_submit_that_never_gets_its_turn_is_told_when_to_come_back(
    api: Any, database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with jobs_locked(database_settings):
        submits = [asyncio.create_task(submit(api)) for _ in range(POOL // 2)]
        await until_ours(database_settings, POOL // 2, WAITING)
        monkeypatch.setattr("gateway.database.database.SLOW_QUERY_SLOT_SECONDS", 0.1)
        response = await api.post(JOBS, json={"directories": ["a"]})
        assert response.status == 503
        assert response.headers["Retry-After"] == "10"
        assert (await response.json())["error"] == (
            "Too many jobs are being created, please try again later"
        )
    assert await asyncio.gather(*submits) == [201] * len(submits)
    assert await submit(api) == 201


async def test_a_submit_waits_for_one_turn_whatever_it_asks_for(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, slow_query_slot = 0, Database.slow_query_slot

    def counted(database: Database, work: str) -> AbstractAsyncContextManager[None]:
        nonlocal turns
        turns += 1
        return slow_query_slot(database, work)

    monkeypatch.setattr(Database, "slow_query_slot", counted)
    response = await api.post(JOBS, json={"directories": ["a"], "files": ["a/1.mov", "b"]})
    assert (response.status, turns) == (201, 1)


async def test_who_asks_what_paths_mean_is_not_told_of_jobs(
    api: Any, database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with jobs_locked(database_settings):
        submits = [asyncio.create_task(submit(api)) for _ in range(POOL // 2)]
        await until_ours(database_settings, POOL // 2, WAITING)
        monkeypatch.setattr("gateway.database.database.SLOW_QUERY_SLOT_SECONDS", 0.1)
        response = await api.post("/api/v1/paths/resolve", json={"paths": ["a"]})
        assert (await response.json())["error"] == (
            "Too many paths are being looked up, please try again later"
        )
        assert (response.status, response.headers["Retry-After"]) == (503, "10")
    await asyncio.gather(*submits)


async def test_a_submit_that_hangs_up_while_it_waits_gives_its_turn_back(
    empty_database: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.database.database.SLOW_QUERY_SLOT_SECONDS", 20.0)
    async with Database(empty_database.model_copy(update={"db_pool_size": 1})) as database:
        async with database.slow_query_slot("of them"):
            waiting = [asyncio.create_task(take_turn(database)) for _ in range(3)]
            await asyncio.sleep(0)
            waiting[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]
        await asyncio.gather(*waiting[1:])
        monkeypatch.setattr("gateway.database.database.SLOW_QUERY_SLOT_SECONDS", 0.01)
        async with database.slow_query_slot("of them"):
            with pytest.raises(Unavailable, match="Too many of them"):
                await take_turn(database)


async def take_turn(database: Database) -> None:
    async with database.slow_query_slot("of them"):
        await asyncio.sleep(0)


async def test_a_database_whose_every_connection_is_in_use_is_not_away(
    empty_database: Settings,
) -> None:
    settings = empty_database.model_copy(update={"db_pool_size": 2})
    async with Database(settings) as database:
        async with running(database.fetch(SLEEP)), running(database.fetch(SLEEP)):
            await until_ours(settings, 2, "state = 'active'")
            await asyncio.gather(*(database.ping() for _ in range(50)))
        await until_ours(settings, 0, "state = 'active'")
        await database.ping()
