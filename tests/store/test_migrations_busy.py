"""Migrations on tables that are in use, and what a failed one left behind."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest

from gateway.database import migrations
from gateway.database.migrations import migrate
from gateway.errors import LockTimeout
from gateway.settings import Settings
from gateway.standalone.postgres import SUPERUSER
from support.manager_schema import (
    connect_as,
    make_manager_database,
    run_as,
)
from support.manager_use import is_up_to_date
from support.sessions import running

PREFIX_INDEX = "teamcache_gateway_files_path_prefix"
SOMEBODY_WAITS = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'teamcache-gateway' AND wait_event_type = 'Lock'
"""


async def until_somebody_waits(settings: Settings) -> None:
    for _ in range(1000):
        if run_as(settings, SUPERUSER, SOMEBODY_WAITS)[0][0]:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waited for a lock")


async def until_polled(settings: Settings) -> None:
    for _ in range(1000):
        rows = run_as(
            settings,
            SUPERUSER,
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_try_advisory_lock%'"
            " AND application_name = 'teamcache-gateway' AND state = 'idle'"
            f" AND datname = '{settings.db_name}'",
        )
        if rows[0][0]:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the second gateway never asked for the lock")


async def test_an_invalid_index_left_behind_is_made_again(empty_database: Settings) -> None:
    await migrate(empty_database)
    run_as(
        empty_database,
        SUPERUSER,
        f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{PREFIX_INDEX}'::regclass",
        "DELETE FROM teamcache_gateway.migrations WHERE name LIKE '0004%'",
    )
    assert await migrate(empty_database) == [f"index {PREFIX_INDEX}"]
    [valid] = run_as(
        empty_database,
        SUPERUSER,
        f"SELECT indisvalid FROM pg_index WHERE indexrelid = '{PREFIX_INDEX}'::regclass",
    )
    assert valid == (True,)


async def test_a_lock_on_a_table_delays_an_alter_and_does_not_fail_it(
    empty_database: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_manager_database(empty_database, owner=empty_database.db_user, with_sizes=False)
    monkeypatch.setattr(migrations, "LOCK_SECONDS", 1)
    with closing(connect_as(empty_database, SUPERUSER)) as busy:
        busy.autocommit = False
        busy.cursor().execute("LOCK TABLE cache_jobs IN ROW EXCLUSIVE MODE")
        async with running(migrate(empty_database)) as migration:
            await until_somebody_waits(empty_database)
            # Whoever reads the table queues behind the waiting ALTER: only for so long.
            rows = await asyncio.to_thread(
                run_as, empty_database, SUPERUSER, "SELECT count(*) FROM cache_jobs"
            )
            assert rows == [(1,)]
            busy.rollback()
            assert "column cache_jobs.total_size_bytes" in await migration
    assert await is_up_to_date(empty_database)


async def test_a_table_that_stays_locked_ends_the_migration_in_bounded_time(
    empty_database: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_manager_database(empty_database, owner=empty_database.db_user, with_sizes=False)
    monkeypatch.setattr(migrations, "LOCK_SECONDS", 1)
    monkeypatch.setattr(migrations, "LOCK_ATTEMPTS", 2)
    with closing(connect_as(empty_database, SUPERUSER)) as busy:
        busy.autocommit = False
        busy.cursor().execute("LOCK TABLE cache_jobs IN ROW EXCLUSIVE MODE")
        with pytest.raises(LockTimeout, match=r"column cache_jobs\.total_size_bytes"):
            await migrate(empty_database)
    assert "column cache_jobs.total_size_bytes" in await migrate(empty_database)


async def test_an_old_transaction_that_outlasts_the_patience_of_an_index_leaves_no_ruin(
    empty_database: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_manager_database(empty_database, owner=empty_database.db_user, with_sizes=True)
    monkeypatch.setattr(migrations, "CONCURRENT_LOCK_SECONDS", 1)
    ruin = (
        "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
        f" AND indexrelid = to_regclass('{PREFIX_INDEX}')"
    )
    with closing(connect_as(empty_database, SUPERUSER)) as busy:
        busy.autocommit = False
        busy.cursor().execute("INSERT INTO files (path, name) VALUES ('/media/x', 'x')")
        async with running(migrate(empty_database)) as migration:
            for _ in range(3):  # it fails by its lock timeout, and begins again
                await until_somebody_waits(empty_database)
                await asyncio.to_thread(run_as, empty_database, SUPERUSER, "SELECT pg_sleep(0.7)")
            assert run_as(empty_database, SUPERUSER, ruin) == [(1,)]
            busy.commit()
            assert f"index {PREFIX_INDEX}" in await migration
    assert run_as(empty_database, SUPERUSER, ruin) == [(0,)]
    assert await is_up_to_date(empty_database)


async def test_a_second_gateway_waits_while_the_first_builds_an_index(
    empty_database: Settings,
) -> None:
    make_manager_database(empty_database, owner=empty_database.db_user, with_sizes=True)
    with closing(connect_as(empty_database, SUPERUSER)) as busy:
        busy.autocommit = False
        busy.cursor().execute("INSERT INTO files (path, name) VALUES ('/media/x', 'x')")
        async with running(migrate(empty_database)) as first:
            await until_somebody_waits(empty_database)
            async with running(migrate(empty_database)) as second:
                await until_polled(empty_database)
                busy.commit()
                async with asyncio.timeout(30):
                    assert f"index {PREFIX_INDEX}" in await first
                    assert await second == []
