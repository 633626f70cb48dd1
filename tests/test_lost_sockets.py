"""A connection that loses its socket lets go of it at once, and whoever waits for it is told."""

from __future__ import annotations

import asyncio
from typing import Any

import aiopg
import aiopg.connection
import psycopg2
import pytest

from gateway.connection_arguments import connection_arguments
from gateway.database import Database
from gateway.errors import DatabaseUnavailable
from gateway.lost_sockets import mind_socket
from gateway.settings import Settings
from tests.index_rows import run


class Select:
    """`select` as it is where a thread has opened a file with the number, or for high numbers."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def select(self, *_arguments: Any) -> tuple[list[int], list[int], list[int]]:
        if self._error is not None:
            raise self._error
        return [], [], []


@pytest.mark.parametrize(
    "error",
    [None, ValueError("filedescriptor out of range in select()")],
    ids=["the number is taken", "the number is high"],
)
async def test_a_lost_connection_lets_go_of_its_socket_and_tells_who_waits(
    database_settings: Settings, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    async with Database(database_settings) as database:
        with pytest.raises(DatabaseUnavailable):
            async with asyncio.timeout(10), database.session() as session:
                pool: Any = database._pool
                [connection] = pool._used
                number, process = connection.raw.fileno(), connection.raw.get_backend_pid()
                sleeping = asyncio.create_task(session.fetch("SELECT pg_sleep(60)"))
                while not await asyncio.to_thread(is_sleeping, database_settings, process):
                    pass
                monkeypatch.setattr(aiopg.connection, "select", Select(error))
                run(database_settings, "SELECT pg_terminate_backend(%s)", process)
                await sleeping
        assert not asyncio.get_running_loop().remove_reader(number)
        assert await database.fetch("SELECT 1 AS one")


def is_sleeping(settings: Settings, process: int) -> bool:
    statement = "SELECT query LIKE '%%pg_sleep%%' AS is_it FROM pg_stat_activity WHERE pid = %s"
    return bool(run(settings, statement, process)[0].is_it)


async def test_one_that_is_lost_before_it_is_minded_is_told_as_such(
    database_settings: Settings,
) -> None:
    async with aiopg.connect(**connection_arguments(database_settings)) as connection:
        await connection.close()
        with pytest.raises(psycopg2.OperationalError, match="was lost"):
            mind_socket(connection)
