"""The pool and its transactions: what they give, what they refuse, and how they say it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.database import (
    Database,
    array_literal,
    blocking_connection,
    connection_arguments,
)
from gateway.database.errors import first_line
from gateway.errors import DatabaseUnavailable, GatewayError, PermissionDenied, StatementFailed
from gateway.settings import Settings
from gateway.standalone.postgres import SUPERUSER, EmbeddedPostgres
from support.manager_schema import run_as
from support.sessions import (
    SLEEP,
    count_ours,
    make_table,
    rows_of_table,
    running,
    settings_of,
    until_ours,
)


async def test_a_statement_gives_named_rows_and_a_count(database: Database) -> None:
    await make_table(database)
    async with database.transaction() as session:
        assert await session.execute("INSERT INTO t SELECT generate_series(1, 3)") == 3
        assert (await session.fetch_one("SELECT n FROM t WHERE n = %(n)s", {"n": 2})).n == 2
    assert await rows_of_table(database) == [1, 2, 3]
    assert await database.fetch_one("SELECT n FROM t WHERE n = 9") is None


async def test_an_error_in_a_transaction_rolls_it_back(database: Database) -> None:
    await make_table(database)
    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as session:
            await session.execute("INSERT INTO t VALUES (1)")
            raise ZeroDivisionError
    with pytest.raises(StatementFailed):
        async with database.transaction() as session:
            await session.execute("INSERT INTO t VALUES (1)")
            await session.execute("INSERT INTO t VALUES (1)")
    assert await rows_of_table(database) == []
    assert database.in_use == 0


async def test_more_tasks_than_connections_all_get_their_turn(empty_database: Settings) -> None:
    settings = empty_database.model_copy(update={"db_pool_size": 3})
    async with Database(settings) as database:
        rows = await asyncio.gather(
            *(database.fetch_one("SELECT %(n)s AS n, pg_sleep(0.005)", {"n": n}) for n in range(60))
        )
        assert [row.n for row in rows] == list(range(60))
        assert count_ours(settings) == 3
        assert database.in_use == 0


async def test_waiting_for_a_connection_is_bounded(empty_database: Settings) -> None:
    settings = empty_database.model_copy(
        update={"db_pool_size": 1, "db_connect_timeout": 0.2, "db_statement_timeout": 60}
    )
    async with Database(settings) as database:
        async with running(database.fetch(SLEEP)):
            await until_ours(settings, 1, "state = 'active'")
            with pytest.raises(DatabaseUnavailable):
                await database.fetch("SELECT 1")
        assert (await database.fetch_one("SELECT 1 AS n")).n == 1


async def test_a_longer_time_can_be_had_for_one_transaction(empty_database: Settings) -> None:
    settings = empty_database.model_copy(update={"db_statement_timeout": 0.2, "db_pool_size": 1})
    async with Database(settings) as database:
        async with database.transaction(statement_seconds=30) as session:
            await session.fetch("SELECT pg_sleep(0.4)")
        row = await database.fetch_one("SELECT current_setting('statement_timeout') AS value")
        assert row.value == "200ms"


async def test_a_pool_opens_while_the_server_is_away(public_folder: Path) -> None:
    async with Database(Settings(db_host=str(public_folder))) as database:
        with pytest.raises(DatabaseUnavailable):
            await database.ping()


async def test_a_closed_pool_is_unavailable(empty_database: Settings) -> None:
    database = Database(empty_database)
    with pytest.raises(DatabaseUnavailable):
        await database.fetch("SELECT 1")
    async with database:
        await database.ping()
    with pytest.raises(DatabaseUnavailable):
        await database.fetch("SELECT 1")


async def test_no_driver_text_is_in_any_message(
    own_server: EmbeddedPostgres,
) -> None:
    server = own_server
    messages: list[str] = []
    settings = settings_of(server)
    async with Database(settings) as database:
        for statement in (
            "SELECT nonsense",
            "SELECT 1/0",
            "SYNTAX",
            "SELECT pg_terminate_backend(pg_backend_pid())",
        ):
            with pytest.raises(GatewayError) as caught:
                async with database.session() as session:
                    await session.fetch(statement)
            messages.append(caught.value.message)
        await asyncio.to_thread(server.stop)
        with pytest.raises(GatewayError) as caught:
            await database.fetch("SELECT 1")
        messages.append(caught.value.message)
    assert set(messages) == {
        "Internal error",
        "Database unavailable, please try again later",
    }


async def test_a_missing_right_says_postgresqls_sentence_to_the_operator_alone(
    database: Database,
) -> None:
    with pytest.raises(PermissionDenied) as caught:
        await database.fetch("SELECT * FROM pg_authid")
    assert caught.value.message == "Internal error"
    assert first_line(caught.value) == "permission denied for table pg_authid"


async def test_the_server_drops_statements_whose_client_is_gone(database: Database) -> None:
    row = await database.fetch_one(
        "SELECT current_setting('server_version_num')::int AS version,"
        " current_setting('client_connection_check_interval', true) AS interval"
    )
    assert row.interval == ("500ms" if row.version >= 140000 else None)


async def test_sessions_are_in_utc_and_bounded(database: Database) -> None:
    row = await database.fetch_one(
        "SELECT current_setting('timezone') AS zone, current_setting('jit') AS jit,"
        " current_setting('statement_timeout') AS statement,"
        " current_setting('idle_in_transaction_session_timeout') AS idle"
    )
    assert (row.zone, row.jit, row.statement, row.idle) == ("UTC", "off", "15s", "1min")


async def test_db_host_may_be_a_socket_directory(empty_database: Settings) -> None:
    assert Path(empty_database.db_host).is_dir()
    async with Database(empty_database) as database:
        row = await database.fetch_one("SELECT inet_server_addr() AS address")
        assert row.address is None


def test_a_password_with_spaces_and_quotes_stays_whole() -> None:
    settings = Settings(db_password="a b'c\\d =")
    assert connection_arguments(settings)["password"] == "a b'c\\d ="


def test_blocking_work_is_committed_or_rolled_back(empty_database: Settings) -> None:
    with blocking_connection(empty_database) as connection:
        connection.cursor().execute("CREATE TABLE t (n int)")
    with (
        pytest.raises(ZeroDivisionError),
        blocking_connection(empty_database) as connection,
    ):
        connection.cursor().execute("INSERT INTO t VALUES (1)")
        raise ZeroDivisionError
    assert run_as(empty_database, SUPERUSER, "SELECT count(*) FROM t") == [(0,)]


async def test_a_literal_array_keeps_every_character(database: Database) -> None:
    names = ["", "a b", 'say "hi"', "back\\slash", "{curly},comma", "NULL", "ü/日本\n\ttab", "100%"]
    row = await database.fetch_one("SELECT %(a)s::text[] AS a", {"a": array_literal(names)})
    assert row.a == names
    row = await database.fetch_one("SELECT %(a)s::bigint[] AS a", {"a": array_literal([1, 2**40])})
    assert row.a == [1, 2**40]
    row = await database.fetch_one("SELECT %(a)s::text[] AS a", {"a": array_literal([])})
    assert row.a == []
