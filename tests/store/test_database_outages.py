"""The pool against a PostgreSQL that restarts, kills and stalls, and requests cut off."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from contextlib import closing, suppress

import pytest

from gateway.database import Database
from gateway.errors import DatabaseUnavailable, StatementFailed
from gateway.settings import Settings
from gateway.standalone.postgres import SUPERUSER, EmbeddedPostgres
from support.manager_schema import connect_as, run_as
from support.sessions import (
    OURS,
    SLEEP,
    UNTIL_SECONDS,
    make_table,
    rows_of_table,
    running,
    settings_of,
    terminate_ours,
    until_ours,
    watch_loop,
)


async def test_a_statement_that_takes_too_long_is_unavailability_not_a_cancellation(
    empty_database: Settings,
) -> None:
    complaints = watch_loop()
    settings = empty_database.model_copy(update={"db_statement_timeout": 0.2})
    async with Database(settings) as database:
        with pytest.raises(DatabaseUnavailable, match="took too long"):
            await database.fetch(SLEEP)
        with pytest.raises(DatabaseUnavailable, match="took too long"):
            async with database.transaction() as session:
                await session.fetch(SLEEP)
        current = asyncio.current_task()
        assert current is not None
        assert not current.cancelling()
        assert (await database.fetch_one("SELECT 1 AS n")).n == 1
        assert database.in_use == 0
        # aiopg tells the loop of each statement timeout; nothing else is told.
        assert all("statement timeout" in str(what["exception"]) for what in complaints)


async def test_a_statement_that_somebody_cancels_on_the_server_is_unavailability(
    empty_database: Settings,
) -> None:
    watch_loop()
    async with Database(empty_database) as database:
        work = asyncio.create_task(database.fetch(SLEEP))
        await until_ours(empty_database, 1, "state = 'active'")
        run_as(empty_database, SUPERUSER, f"SELECT pg_cancel_backend(pid) {OURS}")
        with pytest.raises(DatabaseUnavailable):
            await work


async def test_a_real_cancellation_stays_one(empty_database: Settings, database: Database) -> None:
    for work in (database.fetch(SLEEP), sleep_in_transaction(database)):
        task = asyncio.create_task(work)
        await until_ours(empty_database, 1, "query LIKE '%pg_sleep%' AND state = 'active'")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until_ours(empty_database, 0, "state = 'active'")
    assert database.in_use == 0


async def sleep_in_transaction(database: Database) -> None:
    async with database.transaction() as session:
        await session.fetch(SLEEP)


async def test_cancelled_requests_poison_nothing(empty_database: Settings) -> None:
    complaints = watch_loop()
    chance = random.Random(7)
    settings = empty_database.model_copy(update={"db_pool_size": 4})
    async with Database(settings) as database:
        await make_table(database)
        for number in range(200):
            work = insert_slowly(database, number) if number % 2 else read_slowly(database)
            task = asyncio.create_task(work)
            await asyncio.sleep(chance.random() * 0.015)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        assert database.in_use == 0
        answers = await asyncio.gather(*(database.fetch_one("SELECT 1 AS n") for _ in range(20)))
        assert [row.n for row in answers] == [1] * 20
        # What was cut off the server notices by itself.
        await until_ours(settings, 0, "state <> 'idle'")
        assert all(n % 2 for n in await rows_of_table(database))
    assert complaints == []


async def read_slowly(database: Database) -> None:
    await database.fetch("SELECT pg_sleep(0.003)")


async def insert_slowly(database: Database, number: int) -> None:
    async with database.transaction() as session:
        await session.execute("INSERT INTO t VALUES (%(n)s)", {"n": number})
        await session.execute("SELECT pg_sleep(0.003)")
        await asyncio.sleep(0.002)


async def test_a_connection_that_cannot_be_prepared_is_closed(
    empty_database: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints = watch_loop()
    async with Database(empty_database) as database:
        monkeypatch.setattr("gateway.database.database.NOTICE_LOST_CLIENTS", "SELECT 1/0")
        for _ in range(3):
            with pytest.raises(StatementFailed):
                await database.fetch("SELECT 1")
        await until_ours(empty_database, 0)
        monkeypatch.undo()
        await database.ping()
    assert complaints == []


async def test_killed_backends_cost_a_read_nothing(
    empty_database: Settings, database: Database
) -> None:
    complaints = watch_loop()
    for _ in range(3):
        await asyncio.gather(*(database.fetch("SELECT pg_sleep(0.01)") for _ in range(10)))
        await asyncio.to_thread(terminate_ours, empty_database)
        answers = await asyncio.gather(*(database.fetch_one("SELECT 1 AS n") for _ in range(30)))
        assert [row.n for row in answers] == [1] * 30
    assert database.in_use == 0
    assert complaints == []


async def test_a_read_whose_backend_is_killed_meanwhile_is_tried_again(
    empty_database: Settings, database: Database
) -> None:
    with closing(connect_as(empty_database, SUPERUSER)) as holder:
        holder.cursor().execute("SELECT pg_advisory_lock(1)")
        waiting = "SELECT 1 AS n FROM pg_advisory_lock_shared(1)"
        async with running(database.fetch_one(waiting)) as read:
            await until_ours(empty_database, 1, "wait_event_type = 'Lock'")
            await asyncio.to_thread(terminate_ours, empty_database)
            holder.cursor().execute("SELECT pg_advisory_unlock(1)")
            assert (await read).n == 1


async def test_a_transaction_whose_backend_is_killed_is_not_tried_again(
    empty_database: Settings, database: Database
) -> None:
    await make_table(database)
    attempts = 0
    with pytest.raises(DatabaseUnavailable):
        async with database.transaction() as session:
            attempts += 1
            await session.execute("INSERT INTO t VALUES (1)")
            await asyncio.to_thread(terminate_ours, empty_database)
            await session.execute("INSERT INTO t VALUES (2)")
    assert attempts == 1
    assert await rows_of_table(database) == []


async def test_a_commit_whose_connection_was_lost_is_not_taken_for_done(
    empty_database: Settings, database: Database
) -> None:
    await make_table(database)
    with pytest.raises(DatabaseUnavailable):
        async with database.transaction() as session:
            await session.execute("INSERT INTO t VALUES (1)")
            await asyncio.to_thread(terminate_ours, empty_database)
    assert await rows_of_table(database) == []
    assert database.in_use == 0


async def test_a_restart_needs_nobodys_hand(own_server: EmbeddedPostgres) -> None:
    complaints = watch_loop()
    server = own_server
    async with Database(settings_of(server)) as database:
        await asyncio.gather(*(database.fetch("SELECT pg_sleep(0.01)") for _ in range(10)))
        await asyncio.to_thread(server.stop)
        with pytest.raises(DatabaseUnavailable):
            await database.fetch("SELECT 1")
        await asyncio.to_thread(server.start)
        answers = await asyncio.gather(*(database.fetch_one("SELECT 1 AS n") for _ in range(20)))
        assert [row.n for row in answers] == [1] * 20
        assert database.in_use == 0
    assert complaints == []


async def test_a_crash_needs_nobodys_hand(own_server: EmbeddedPostgres) -> None:
    server = own_server
    settings = settings_of(server)
    async with Database(settings) as database:
        async with running(database.fetch(SLEEP)):
            await until_ours(settings, 1, "state = 'active'")
            [[pid]] = run_as(settings, SUPERUSER, f"SELECT pid {OURS}")
            os.kill(pid, signal.SIGKILL)
            async with asyncio.timeout(UNTIL_SECONDS):
                while True:  # it recovers, refusing connections meanwhile
                    with suppress(DatabaseUnavailable):
                        await database.fetch("SELECT 1")
                        break
        assert database.in_use == 0


async def test_a_server_that_stalls_is_reported_in_bounded_time(
    own_server: EmbeddedPostgres,
) -> None:
    server = own_server
    async with Database(settings_of(server, db_connect_timeout=2.0)) as database:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(UNTIL_SECONDS):
                with pytest.raises(DatabaseUnavailable):
                    await database.ping()
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await database.ping()


async def test_closing_ends_what_is_in_use(empty_database: Settings) -> None:
    complaints = watch_loop()
    settings = empty_database.model_copy(update={"db_pool_size": 2})
    database = Database(settings)
    await database.open()
    tasks = [asyncio.create_task(sleep_in_transaction(database)) for _ in range(4)]
    await until_ours(settings, 2, "state = 'active' AND query LIKE '%pg_sleep%'")
    async with asyncio.timeout(UNTIL_SECONDS):
        await database.close()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(result) for result in results} == {DatabaseUnavailable}
    await until_ours(settings, 0, "state <> 'idle'")
    assert complaints == []
